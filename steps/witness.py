"""testinfra over our transports: a second witness for facts that the plan's actions know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from remediation.ahead import Ahead

if TYPE_CHECKING:
    from remediation.transport import Transport

#: What testinfra asks of a machine before anything that it is told to ask.
_FIRST = tuple(("sh", "-c", line) for line in ("uname -s", "cat /etc/os-release", "uname -m"))


def host(machine: Transport) -> Host:
    """Return testinfra's view of a machine."""
    return Host(TransportBackend(Ahead(machine, _FIRST)))


class TransportBackend(BaseBackend):  # type: ignore[misc]
    """A testinfra backend that hands its shell lines to a transport."""

    NAME = "transport"

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport.machine)
        self._transport = transport

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a shell line; testinfra quotes the arguments itself."""
        line = self.get_command(command, *args)
        result = self._transport.run(["sh", "-c", line], timeout=120)
        return self.result(result.exit_code, line, result.stdout, result.stderr)
