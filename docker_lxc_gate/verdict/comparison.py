"""Two records of runs, compared scenario by scenario: what was fixed, and what broke."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.verdict.record import BAD, HOLDS, JudgedTarget, Outcome, Run, Verdict

#: The largest record that is read, in bytes and in quotes: a small object takes fifty times as much
#: memory. Quotes within a text do not count. One of 500 containers has 27 MiB and 2 million quotes.
_LARGEST, _MOST = 1 << 26, 5_000_000


class Change(StrEnum):
    """What became of a scenario."""

    BROKEN = "broken"
    INCOMPARABLE = "incomparable"
    GONE = "gone"
    NEW = "new"
    FIXED = "fixed"
    UNCHANGED = "unchanged"


class ComparedScenario(msgspec.Struct, frozen=True):
    """A scenario that was asked before or after.

    ``red``: it is known to be wrong now. ``why`` is the reason why two verdicts cannot be compared,
    or else the cause of the later one.
    """

    change: Change
    target: str
    requirements: tuple[str, ...]
    title: str
    before: Verdict
    after: Verdict
    red: bool
    why: str

    @property
    def fails(self) -> bool:
        """Whether it is red, and was not known to be."""
        return self.red and self.change in {Change.BROKEN, Change.NEW}


_STYLES = {Change.INCOMPARABLE: "yellow", Change.FIXED: "green"}


def read(path: Path) -> Run:
    """Return a run's record; raises UsageError if it cannot be read, or is none of this format."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size > _LARGEST:
            raise UsageError(f"{path}: it is no regular file, or larger than {_LARGEST >> 20} MiB")
        return decoded(path.read_bytes(), path)
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror}") from error


def decoded(content: bytes, of: object) -> Run:
    """Return the record of a run from the content of its file, which a message calls ``of``.

    Raises UsageError if it is none of this format, or has too many values.
    """
    if content.count(b'"') - content.count(b'\\"') > _MOST:
        raise UsageError(f"{of}: it has more than {_MOST // 2} names and texts")
    try:
        return msgspec.json.decode(content, type=Run)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{of}: it is no record of this version's format: {error}") from error


def compared(before: Run, after: Run) -> list[ComparedScenario]:
    """Return a row for each scenario that was asked on a side: first what is red and was not.

    Raises UsageError if the later run did not begin after the other one.
    """
    if None in {before.began.tzinfo, after.began.tzinfo} or before.began >= after.began:
        raise UsageError("AFTER is of a run that did not begin after that of BEFORE")
    old, new = ({(o.target, o.nodeid): o for o in run.scenarios} for run in (before, after))
    other = _others(before, after)
    rows = [_row(old.get(key), new.get(key), other[key[0]]) for key in {**new, **old}]
    order = [*Change]
    asked = [row for row in rows if row]
    return sorted(asked, key=lambda row: (not row.fails, order.index(row.change)))


def unknown(before: Run, after: Run, rows: list[ComparedScenario]) -> Iterator[str]:
    """Yield why something of the two runs is not known, besides what cannot be compared."""
    for when, run in (("before", before), ("after", after)):
        waivers = {*map(str, run.waivers)}  # they change no verdict
        yield from (f"{when}: {problem}" for problem in run.own_problems if problem not in waivers)
    if not {row.change for row in rows} & {Change.BROKEN, Change.FIXED, Change.UNCHANGED}:
        yield "no scenario has a verdict of both runs that can be compared"
    changes: dict[str, set[Change]] = {}
    for row in rows:
        changes.setdefault(row.target, set()).add(row.change)
    for target, its in changes.items():
        if its == {Change.GONE}:
            yield f"{target or 'the target'} was not judged again"


def counted(rows: list[ComparedScenario]) -> dict[str, int]:
    """Return how many scenarios became what."""
    changes = [row.change for row in rows]
    return {change.value: changes.count(change) for change in Change if change in changes}


def lines(before: Run, after: Run) -> Iterator[tuple[str, str]]:
    """Yield lines for a reader, each with its style; raises UsageError as :func:`compared`."""
    for row in (rows := compared(before, after)):
        if row.change is not Change.UNCHANGED:
            name = " ".join(filter(None, [row.target, *row.requirements, row.title]))
            style = "bold red" if row.fails else _STYLES.get(row.change, "")
            yield f"{row.change}: {name}: {row.before} -> {row.after}", style
            why = row.why.partition("\n")[0]
            if why and row.change is not Change.FIXED:
                yield f"    why: {why}", ""
    yield from ((problem, "yellow") for problem in unknown(before, after, rows))
    red = sum(row.red and row.change is Change.UNCHANGED for row in rows)
    still = f" ({red} not compliant)" if red else ""
    yield ", ".join(f"{number} {change}" for change, number in counted(rows).items()) + still, ""


def _others(before: Run, after: Run) -> Mapping[str, str]:
    """Return by target why verdicts cannot be compared at all; empty if they can."""
    if (before.version, before.commit) != (after.version, after.commit):
        return defaultdict(lambda: "another version of the gate judged")
    if not (before.clean and after.clean):
        why = "it is not known whether the same gate judged: its files are not those of a commit"
        return defaultdict(lambda: why)
    old, new = ({target.name: target for target in run.targets} for run in (before, after))
    return defaultdict(str, {name: _other(old.get(name), new.get(name)) for name in {**old, **new}})


def _other(old: JudgedTarget | None, new: JudgedTarget | None) -> str:
    if (old and old.plan) != (new and new.plan):
        return "it was judged by another plan"
    keys = {target.host_key for target in (old, new) if target and target.host_key}
    return "another node answered: it has another host key" if len(keys) > 1 else ""


def _row(before: Outcome | None, after: Outcome | None, other: str) -> ComparedScenario | None:
    asked = [outcome for outcome in (after, before) if outcome and outcome.asked]
    if not asked:
        return None
    was, now = (outcome.verdict if outcome else Verdict.NOT_ASKED for outcome in (before, after))
    is_red = bool(after and after.code in BAD)
    change, why = Change.UNCHANGED, after.cause if after else "the later run does not know it"
    if other:
        change, why = Change.INCOMPARABLE, other
    elif undecided := [outcome for outcome in asked if outcome.code not in {HOLDS, *BAD}]:
        change, why = Change.INCOMPARABLE, undecided[0].cause
    elif not (after and after.asked):
        change = Change.GONE
    elif not (before and before.asked):
        change = Change.NEW
    elif is_red != (before.code in BAD):
        change = Change.BROKEN if is_red else Change.FIXED
    one = asked[0]
    return ComparedScenario(change, one.target, one.requirements, one.title, was, now, is_red, why)
