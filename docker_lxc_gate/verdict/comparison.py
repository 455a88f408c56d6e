"""Two records of runs, compared scenario by scenario: what was fixed, and what broke."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.verdict.record import Outcome, Run, Verdict

if TYPE_CHECKING:
    from pathlib import Path

#: The largest record that is read (bytes): one of three hundred targets has a tenth of it.
_LARGEST = 1 << 28
_DECIDED = {Verdict.COMPLIANT, Verdict.NOT_COMPLIANT}


class Change(StrEnum):
    """What became of a scenario, the worst first."""

    BROKEN = "broken"
    INCOMPARABLE = "incomparable"
    GONE = "gone"
    NEW = "new"
    FIXED = "fixed"
    UNCHANGED = "unchanged"


class Row(msgspec.Struct, frozen=True):
    """A scenario that was asked before or after; a side on which it was not is *not asked*.

    ``why`` is the reason why two verdicts cannot be compared, or else the cause of the later one.
    """

    change: Change
    target: str
    requirements: tuple[str, ...]
    title: str
    before: Verdict
    after: Verdict
    why: str


def read(path: Path) -> Run:
    """Return the record of a run.

    Raises:
        UsageError: it cannot be read, or is none of this format.
    """
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            raise UsageError(f"{path}: it is no file, or too large for a record")
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: it is no record of this version's format: {error}") from error


def compared(before: Run, after: Run) -> list[Row]:
    """Return a row for each scenario that was asked on a side, in the later record's order."""
    old, new = ({(o.target, o.nodeid): o for o in run.asked} for run in (before, after))
    return [
        _row(old.get(key), new.get(key), _other(before, after, key[0])) for key in {**new, **old}
    ]


def failed(rows: list[Row]) -> int:
    """Return the exit code: 1 if something broke, or is new and red; 3 if something is unknown."""
    red = {each.change for each in rows if each.after is Verdict.NOT_COMPLIANT}
    if red & {Change.BROKEN, Change.NEW}:
        return 1
    return 3 if not rows or any(each.change is Change.INCOMPARABLE for each in rows) else 0


def _other(before: Run, after: Run, target: str) -> str:
    """Return why verdicts on a target cannot be compared at all; empty if they can."""
    if (before.version, before.commit, before.clean) != (after.version, after.commit, after.clean):
        return "another version of the gate judged"
    plans = [{t.plan for t in run.targets if t.name == target} for run in (before, after)]
    return "" if plans[0] == plans[1] else "it was judged by another plan"


def _row(before: Outcome | None, after: Outcome | None, other: str) -> Row:
    known = [each for each in (after, before) if each]
    was, now = (each.verdict if each else Verdict.NOT_ASKED for each in (before, after))
    change, why = Change.UNCHANGED, known[0].cause
    if undecided := [each for each in known if each.verdict not in _DECIDED]:
        change, why = Change.INCOMPARABLE, undecided[0].cause
    elif not after:
        change, why = Change.GONE, "it is not asked now"
    elif not before:
        change = Change.NEW
    elif other:
        change, why = Change.INCOMPARABLE, other
    elif was is not now:
        change = Change.FIXED if now is Verdict.COMPLIANT else Change.BROKEN
    return Row(change, known[0].target, known[0].requirements, known[0].title, was, now, why)
