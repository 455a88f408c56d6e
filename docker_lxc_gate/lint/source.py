"""A file as it is linted: its bytes, and what kind of file it is."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from docker_lxc_gate.lint.finding import PROBLEMS

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Edit, Finding


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
    def no_text(self) -> str:
        """Why its content is no text for the program that reads it; empty if it is."""
        reads_utf16 = self.kind in {Kind.DAEMON, Kind.DESCRIPTION, Kind.SCHEMA}
        return "" if reads_utf16 else not_text(self.content)

    @property
    def text(self) -> str:
        """Its content; a byte that is no UTF-8 is kept as a surrogate."""
        return self.content.decode("utf-8", "surrogateescape")

    def at(
        self,
        problem: str,
        line: int,
        cause: str,
        *,
        column: int = 0,
        fix: str = "",
        edit: Edit | None = None,
    ) -> Finding:
        """Return a finding of a problem, by its id, in this file; see :class:`Finding`."""
        found = PROBLEMS[problem].here(cause, path=self.path, fix=fix)
        return replace(found, line=line, column=column, edit=edit)


def not_text(content: bytes) -> str:
    """Return why bytes are no text in UTF-8 or an encoding like it; empty if they are."""
    utf16 = "the file is text in UTF-16, which iconv -f UTF-16{} -t UTF-8 FILE >NEW converts"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return utf16.format("")
    if b"\0" not in content:
        return ""
    halves = content[: 1 << 10 : 2], content[1 : 1 << 10 : 2]
    blank = [not half.strip(b"\0") for half in halves]
    if blank[0] != blank[1]:
        return utf16.format("BE" if blank[0] else "LE")
    return "the file holds null bytes, so it is no text"
