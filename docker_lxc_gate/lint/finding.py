"""A problem of a file or of a container, and one finding of it: for lint and for doctor."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace
from enum import StrEnum

from msgspec import structs

from docker_lxc_gate.tables import Row, table


class Severity(StrEnum):
    """How certain and how bad a finding is; the order is that of a report.

    Attributes:
        SEEN: it happened: Docker or the kernel said so.
        PROBLEM: it is wrong, and will fail when it is used.
        ERROR: a file is wrong.
        WARNING: a file may be wrong.
        ADVICE: worth knowing; it never changes the exit code.
    """

    SEEN = "seen"
    PROBLEM = "problem"
    ERROR = "error"
    WARNING = "warning"
    ADVICE = "advice"


@dataclass(frozen=True)
class Problem:
    """What is looked for, without the place that has it: a row of a table.

    Programs, docs/lint.md and docs/doctor.md know it by its ``id``. A finding may be of another
    ``severity``, and say its ``why`` and its ``fix`` better.
    """

    id: str
    severity: Severity
    title: str
    why: str
    fix: str

    def here(
        self,
        cause: str,
        *,
        path: str = "",
        why: str = "",
        fix: str = "",
        severity: Severity | None = None,
    ) -> Finding:
        """Return a finding of this problem in a container or a file; see :class:`Finding`."""
        severity = severity or self.severity
        return Finding(self, severity, cause, why or self.why, fix or self.fix, path)


class _Row(Row, frozen=True):
    severity: Severity
    title: str
    why: str
    fix: str


def problems(package: str) -> dict[str, Problem]:
    """Return the problems of a package's ``problems.toml``, by id."""
    rows = table(package, "problems", dict[str, _Row])
    return {name: Problem(name, *structs.astuple(row)) for name, row in rows.items()}


#: What lint looks for.
PROBLEMS = problems("docker_lxc_gate.lint")


@dataclass(frozen=True)
class Edit:
    """A fix that is certain: one line replaces ``count`` lines from ``line`` on.

    The first line is 1. ``new`` has no line end.
    """

    line: int
    count: int
    new: str


@dataclass(frozen=True)
class Finding:
    """One place that has a problem; its ``severity`` says how certain and how bad it is here.

    The ``cause`` is one line, in which foreign text is printed escaped. ``path`` is the file, as
    its reader names it; empty if there is none. ``line`` and ``column`` begin with 1; 0 is the
    whole file or line. ``edit`` is the fix as data, only where it is certain.
    """

    problem: Problem
    severity: Severity
    cause: str
    why: str
    fix: str
    path: str = ""
    line: int = 0
    column: int = 0
    edit: Edit | None = None

    @property
    def id(self) -> str:
        """The problem's stable name."""
        return self.problem.id

    @property
    def is_advice(self) -> bool:
        """Whether it is only advice, which never changes the exit code."""
        return self.severity is Severity.ADVICE


class Kind(StrEnum):
    """What a file is, in a noun for a reader."""

    CONTAINER = "Proxmox container configuration"
    LXC = "LXC container configuration"
    PROFILE = "AppArmor profile"
    TUNABLES = "AppArmor tunables file"
    INCLUDED = "AppArmor include"
    DAEMON = "daemon.json file"
    UNIT = "Docker unit file"


@dataclass(frozen=True)
class Source:
    """A file that is linted, by its ``path`` as its reader names it.

    ``base`` is the directory that is its ``/etc/apparmor.d``, empty if it is in none, and
    ``inside`` its path from there. ``alone``: it was named itself, so not all of that directory is
    linted.
    """

    path: str
    content: bytes
    kind: Kind
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
        return "" if self.kind is Kind.DAEMON else not_text(self.content)  # it may be UTF-16

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
        finding = PROBLEMS[problem].here(cause, path=self.path, fix=fix)
        return replace(finding, line=line, column=column, edit=edit)


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
