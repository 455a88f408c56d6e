"""The SSH address of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SshAddress:
    """A machine's address, login and host keys.

    What is left out, OpenSSH reads in the user's ``~/.ssh/config``
    (:mod:`docker_lxc_gate.machines.ssh.ssh_config`), where ``host`` may be an alias; else the port
    is 22 and the user root. ``jump`` is a list of jump hosts as ssh's -J takes it. ``known_hosts``
    is one more file of host keys beside the user's own; with ``only_known`` the user's own file,
    configuration and agent are left out (the lab brings its own keys).
    """

    host: str
    port: int | None = None
    user: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    only_known: bool = False
    jump: str = ""

    def __str__(self) -> str:
        """Return ``[user@]host[:port]``, without the default port."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port not in {None, 22} else ""
        host = f"[{self.host}]" if ":" in self.host else self.host  # of IPv6
        return f"{user}{host}{port}"
