"""testinfra over our transports: a second witness, beside the plan's own checks.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testinfra.host import Host
from testinfra.modules import modules

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.testinfra import PATIENCE, TransportBackend

if TYPE_CHECKING:
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.transport import Transport

#: What testinfra raises if a machine does not answer its first commands as a system that it knows.
_LOST = (AssertionError, AttributeError, LookupError, NotImplementedError, ValueError)


def host(machine: Transport) -> Host:
    """Return testinfra's view of a machine."""
    return _Host(Looking(machine))


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


class Looking(TransportBackend):
    """Asks by looks: testinfra's modules change nothing."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport.machine)
        self._transport = transport

    def ran(self, argv: list[str]) -> CommandResult:
        """Look at the machine, and return the result."""
        return self._transport.look(argv, timeout=PATIENCE)
