"""Where a machine answers over SSH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def in_brackets(host: str) -> str:
    """Return a host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class SshAddress:
    """Where a machine answers, and how we know that it is the one.

    What is left out, OpenSSH reads in the user's ``~/.ssh/config`` (:mod:`targets.ssh.ssh_config`),
    where ``host`` may be an alias; else the port is 22 and the user root. ``jump`` is a list of
    jump hosts as ssh's -J takes it. ``known_hosts`` is one more file of host keys beside the
    user's own; with ``only_known`` the user's own file, configuration and agent are left out
    (the lab brings its own keys).
    """

    host: str
    port: int | None = None
    user: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    only_known: bool = False
    jump: str = ""

    def __str__(self) -> str:
        """``user@host:port``, as far as it was stated, without the default port."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port not in {None, 22} else ""
        return f"{user}{in_brackets(self.host)}{port}"
