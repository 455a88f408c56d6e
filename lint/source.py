"""A file as it is linted: its bytes, and what kind of file it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a file is, in a noun for a reader."""

    CONTAINER = "Proxmox container configuration"
    LXC = "LXC container configuration"
    PROFILE = "AppArmor profile"
    TUNABLES = "AppArmor tunables file"
    INCLUDED = "AppArmor include"
    SCRIPT = "shell script"
    DAEMON = "daemon.json file"
    UNIT = "Docker unit file"
    DESCRIPTION = "phoenix description"
    SCHEMA = "JSON schema"


@dataclass(frozen=True)
class Source:
    """A file that is linted.

    Attributes:
        path: as its reader names it.
        content: all of it.
        kind: what it is.
        mode: its permissions, as stat(2) has them.
        base: the directory that is its ``/etc/apparmor.d``; empty if it is in none.
        inside: its path from there.
        alone: whether it was named itself, so that not all of that directory is linted.
    """

    path: str
    content: bytes
    kind: Kind
    mode: int = 0o644
    base: str = ""
    inside: str = ""
    alone: bool = False

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def text(self) -> str:
        """Its content; a byte that is no UTF-8 is kept as a surrogate."""
        return self.content.decode("utf-8", "surrogateescape")
