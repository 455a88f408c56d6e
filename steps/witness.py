"""testinfra over our transports: a second witness, beside the plan's own checks.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testinfra.backend.base import BaseBackend
from testinfra.host import Host
from testinfra.modules import modules

from docker_lxc_gate.errors import FactError

if TYPE_CHECKING:
    from testinfra.backend import base as backend

    from docker_lxc_gate.machines.transport import Transport

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
