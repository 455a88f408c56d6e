"""A rule, and one place where a file breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is; advice alone leaves the exit code at 0."""

    ERROR = "error"
    WARNING = "warning"
    ADVICE = "advice"


@dataclass(frozen=True)
class Rule:
    """What is looked for.

    Attributes:
        id: its stable name, by which programs and docs/lint.md know it.
        severity: of every finding of this rule.
        title: what is wrong, in one line, without its place.
        why: what happens because of it.
        mend: what to do about it, where a finding does not say it better.
    """

    id: str
    severity: Severity
    title: str
    why: str
    mend: str

    def at(
        self,
        path: str,
        line: int,
        said: str,
        *,
        column: int = 0,
        mend: str = "",
        fix: Fix | None = None,
    ) -> Finding:
        """Return a finding of this rule; see :class:`Finding`."""
        return Finding(self, path, line, said, column, mend or self.mend, fix)


@dataclass(frozen=True)
class Fix:
    """A mending that is certain: other lines in place of some, or the right to execute.

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
    """One place where a file breaks a rule.

    Attributes:
        rule: which one.
        path: the file, as its reader names it.
        line: in the file, from 1; 0 if it is about the whole file.
        said: what is wrong there. Foreign text in it is printed escaped.
        column: in the line, from 1; 0 if it is about the whole line.
        mend: what to do about it.
        fix: the mending as data, only where it is certain.
    """

    rule: Rule
    path: str
    line: int
    said: str
    column: int = 0
    mend: str = ""
    fix: Fix | None = None


def in_order(found: list[Finding]) -> list[Finding]:
    """Return findings by file, line and rule."""
    return sorted(found, key=lambda each: (each.path, each.line, each.column, each.rule.id))
