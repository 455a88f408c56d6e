"""Containers as hosts of any testinfra suite: ``pct://root@pve1/950`` and ``lxc://root@node/950``.

A plugin of pytest's, which an installed package registers by itself. The part before the container
is the node, as in a target; ``local`` is this machine. Without a container, ``lxc://NAME`` stays
testinfra's own, for LXD.
"""

from __future__ import annotations

import atexit
import urllib.parse
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import testinfra.backend
from testinfra.backend.base import BaseBackend

from docker_lxc_gate.errors import RemediationError

if TYPE_CHECKING:
    from testinfra.backend.base import CommandResult

    from docker_lxc_gate.machines.result import CommandResult as Result
    from docker_lxc_gate.machines.transport import Transport

#: For each command (seconds).
PATIENCE = 120.0
#: How testinfra knows the backend. A user writes ``pct`` or ``lxc``.
_NAME = "docker-lxc-gate"
_parse_hostspec = testinfra.backend.parse_hostspec


def _with_container(hostspec: str) -> tuple[str, dict[str, Any]]:
    """Parse a host as testinfra does; it drops the path, which is the container."""
    host, keys = _parse_hostspec(hostspec)
    path = urllib.parse.urlparse(hostspec or "").path
    if keys.get("connection") in ("pct", "lxc") and len(path) > 1:
        keys |= {"runtime": keys["connection"], "connection": _NAME}
        return host + path, keys
    return host, keys


testinfra.backend.parse_hostspec = _with_container
testinfra.backend.BACKENDS |= {
    _NAME: f"{__name__}.ContainerBackend",
    "pct": f"{__name__}.ContainerBackend",  # without a container, which is a usage error
}


class TransportBackend(BaseBackend):  # type: ignore[misc]
    """A testinfra backend that hands its shell lines to a transport."""

    NAME = _NAME

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a shell line; testinfra quotes the arguments itself."""
        line = self.get_command(command, *args)
        result = self.ran(["sh", "-c", line])
        return self.result(result.exit_code, line, result.stdout, result.stderr)

    def ran(self, argv: list[str]) -> Result:
        """Run argv on the machine, and return its result."""
        raise NotImplementedError

    def decode(self, data: bytes) -> str:
        """Return bytes as text. testinfra would use any codec that the machine names."""
        return data.decode(errors="replace")


class ContainerBackend(TransportBackend):
    """The container of a target, connected to when it is asked first.

    ``sudo`` becomes root on the node; ``sudo_user`` runs commands as a user of the container.
    """

    def __init__(
        self,
        name: str,
        runtime: str = "pct",
        sudo: bool = False,
        sudo_user: str | None = None,
        ssh_identity_file: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(name, sudo=sudo_user is not None, sudo_user=sudo_user)
        self._keys = {"runtime": runtime, "sudo": sudo, "identity": ssh_identity_file or ""}
        self._inside: Transport | None = None

    def get_pytest_id(self) -> str:
        """Return the host as it was given."""
        return f"{self._keys['runtime']}://{self.hostname}"

    def ran(self, argv: list[str]) -> Result:
        """Run it as a command of its own: a suite may change what it tests."""
        try:
            inside = self._connected()
        except RemediationError as error:
            # What is wrong is the host, not the test.
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        return inside.run(argv, timeout=PATIENCE)

    def _connected(self) -> Transport:
        if self._inside is None:
            # Imported here: pytest loads this plugin wherever the package is installed.
            from msgspec import structs  # noqa: PLC0415

            from docker_lxc_gate.lab.address import lab_address  # noqa: PLC0415
            from docker_lxc_gate.machines import connect, target_file  # noqa: PLC0415

            target = structs.replace(target_file.find(self.hostname, None), **self._keys)
            ends = ExitStack()
            atexit.register(ends.close)
            runtime = ends.enter_context(connect.opened(target, lab=lab_address))
            self._inside = runtime.inside(target.ctid)
        return self._inside
