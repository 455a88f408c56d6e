"""A problem of a file or of a container, and one finding of it: for lint and for doctor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

import msgspec


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
    """What is looked for, without the place that has it.

    Attributes:
        id: its stable name, by which programs, docs/lint.md and docs/doctor.md know it.
        severity: of its findings, where nothing more is known.
        title: what is wrong, in one line.
        why: what happens because of it.
        fix: what to do about it, where a finding does not say it better.
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


def problems(package: str) -> dict[str, Problem]:
    """Return the problems of a package's ``problems.toml``, by id."""
    content = files(package).joinpath("problems.toml").read_bytes()
    rows = msgspec.toml.decode(content, type=dict[str, list[Problem]])["problem"]
    return {each.id: each for each in rows}


#: What lint looks for.
PROBLEMS = problems("docker_lxc_gate.lint")


@dataclass(frozen=True)
class Edit:
    """A fix that is certain: other lines in place of some, or the right to execute.

    Attributes:
        line: the first line that is replaced, from 1.
        count: how many lines are replaced.
        new: what stands there instead, without line ends.
        executable: whether the file itself becomes executable, and no line changes.
    """

    line: int = 1
    count: int = 0
    new: tuple[str, ...] = ()
    executable: bool = False


@dataclass(frozen=True)
class Finding:
    """One place that has a problem.

    Attributes:
        problem: which one.
        severity: how certain and how bad it is here.
        cause: what is wrong here, in one line. Foreign text in it is printed escaped.
        why: what happens because of it.
        fix: what to do about it.
        path: the file, as its reader names it; empty if the finding is about no file.
        line: in the file, from 1; 0 if it is about the whole file.
        column: in the line, from 1; 0 if it is about the whole line.
        edit: the fix as data, only where it is certain.
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


def in_order(findings: list[Finding]) -> list[Finding]:
    """Return findings by file, line and problem."""
    return sorted(findings, key=lambda each: (each.path, each.line, each.column, each.id))
