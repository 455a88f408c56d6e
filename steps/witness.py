"""testinfra over our transports: a second witness, beside the plan's own checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from targets.batch import Ahead
from targets.read import unparsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from targets.transport import Transport

#: testinfra's first commands on every machine.
_FIRST = ("uname -s", "cat /etc/os-release", "uname -m")


def host(machine: Transport) -> Host:
    """Return testinfra's view of a machine."""
    seen = Host(TransportBackend(Ahead(machine)))
    foresee(seen, *_FIRST)
    return seen


def foresee(host: Host, *lines: str) -> None:
    """Have these shell lines asked in one round trip, once testinfra asks the first of them.

    Args:
        host: as :func:`host` returns it.
        lines: in testinfra's own words; others would cost a round trip, and change nothing.
    """
    host.backend.foresee(lines)


def of_package(name: str, *, version: bool = True) -> list[str]:
    """Return testinfra's shell lines for a package's state and version."""
    fields = ("${Status}", "${Status} ${Version}")[: 1 + version]
    return [f"dpkg-query -f '{field}' -W {name}" for field in fields]


def of_program(name: str) -> list[str]:
    """Return testinfra's shell lines for a program's existence."""
    return [f"command -v {each}" for each in ("command", name)]


class TransportBackend(BaseBackend):  # type: ignore[misc]
    """A testinfra backend that hands its shell lines to a transport."""

    NAME = "transport"

    def __init__(self, transport: Ahead) -> None:
        super().__init__(transport.machine)
        self._transport = transport

    def foresee(self, lines: Iterable[str]) -> None:
        """See :func:`foresee`."""
        self._transport.expect(unparsed("sh", "-c", line) for line in lines)

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a shell line; testinfra quotes the arguments itself."""
        line = self.get_command(command, *args)
        result = self._transport.look(["sh", "-c", line], timeout=120)
        return self.result(result.exit_code, line, result.stdout, result.stderr)
