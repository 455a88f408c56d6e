"""testinfra over our transports: a second witness, beside the plan's own checks.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testinfra.backend.base import BaseBackend
from testinfra.host import Host
from testinfra.modules import modules

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.read import Read, unparsed

if TYPE_CHECKING:
    from testinfra.backend import base as backend

    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.transport import Transport

#: testinfra's first commands on every machine.
_FIRST = ("uname -s", "cat /etc/os-release", "uname -m")
#: For each shell line (seconds).
_PATIENCE = 120.0
#: What testinfra raises if a machine does not answer its first commands as a system that it knows.
_LOST = (AssertionError, AttributeError, LookupError, NotImplementedError, ValueError)


def host(machine: Transport) -> Host:
    """Return testinfra's view of a machine."""
    return _Host(TransportBackend(machine))


class _Host(Host):  # type: ignore[misc]
    """testinfra's view of a machine, which may answer anything."""

    def __getattr__(self, name: str) -> Any:
        """Return a module of testinfra's, by the machine's system; raises FactError if unknown."""
        if name not in modules:
            return super().__getattr__(name)
        try:
            return super().__getattr__(name)
        except _LOST as error:
            raise FactError(
                f"testinfra does not know the system of {self.backend.hostname}, and cannot look "
                f"at its {name}: uname -s and /etc/os-release there say something unexpected"
            ) from error


def lines(*asked: str) -> list[Read[CommandResult]]:
    """Return the reads of shell lines, in testinfra's own words, and of those it asks first."""
    return [unparsed("sh", "-c", line, timeout=_PATIENCE) for line in (*_FIRST, *asked)]


def of_file(path: str) -> list[str]:
    """Return testinfra's shell lines for a file's existence and content."""
    return [f"test -e {path}", f"cat -- {path}"]


def of_hash(path: str) -> list[str]:
    """Return testinfra's shell lines for a file's existence and hash."""
    return [f"test -e {path}", f"sha256sum {path} | cut -d ' ' -f 1"]


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

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport.machine)
        self._transport = transport

    def run(self, command: str, *args: str, **_: Any) -> backend.CommandResult:
        """Run a shell line; testinfra quotes the arguments itself."""
        line = self.get_command(command, *args)
        result = self._transport.look(["sh", "-c", line], timeout=_PATIENCE)
        return self.result(result.exit_code, line, result.stdout, result.stderr)

    def decode(self, data: bytes) -> str:
        """Return bytes as text. testinfra would use any codec that the machine names."""
        return data.decode(errors="replace")

    def encode(self, data: str) -> bytes:
        """Return text as bytes."""
        return data.encode(errors="surrogateescape")
