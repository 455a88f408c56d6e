"""The catalogue: every fault by its id, and which of them CI runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.tables import Row, table
from proof.faults.fault import HELPER, RED, Fault, written


class _Catalogue(Row, frozen=True):
    """``catalogue.toml``, which explains its keys."""

    topics: tuple[str, ...]
    slow: frozenset[str]


_TABLE = table("proof.faults", "catalogue", _Catalogue)
FAULTS: tuple[Fault, ...] = tuple(fault for topic in _TABLE.topics for fault in written(topic))
SLOW = _TABLE.slow


def sample(faults: Iterable[Fault] = FAULTS) -> tuple[Fault, ...]:
    """Return the faults that CI runs: few that kill each scenario that is not in :data:`SLOW`.

    Again and again, that fault is taken that kills the most scenarios that none before it killed,
    for each scenario that is asked after it; of equals, the first in the catalogue. A fault that
    leaves a scenario undetermined counts where none turns it red. Those of ``plain`` start from a
    container whose snapshot takes minutes to make, so CI leaves them out.
    """
    faults = [f for f in faults if f.start != HELPER and not SLOW.intersection(f.asked())]
    red = {name for fault in faults for name in fault.expected(RED)}
    kills = {f.id: f.expected(RED) or {*f.kills} - red for f in faults}
    left = {name for names in kills.values() for name in names}
    taken = set[str]()
    while left:
        best = max(faults, key=lambda f: len(left.intersection(kills[f.id])) / len(f.asked()))
        left.difference_update(kills[best.id])
        taken.add(best.id)
    return tuple(fault for fault in faults if fault.id in taken)


def part(faults: Sequence[Fault], text: str) -> tuple[Fault, ...]:
    """Return one of several parts of some faults, for machines side by side.

    ``2/3`` is the second of three parts, which differ by one fault at most. Raises UsageError if
    the text is not of this form, or there is no such part.
    """
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"--part {text}: expected N/M, such as 1/2, with N from 1 to M")
    return tuple(faults[number - 1 :: of])


def chosen(patterns: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults whose ids match (``F15``, ``F3*``), in the catalogue's order.

    Without a pattern, return all faults; raises UsageError if one matches no fault.
    """
    for pattern in patterns:
        if not any(fnmatchcase(fault.id, pattern) for fault in FAULTS):
            raise UsageError(
                f"no fault is called {pattern!r}: `python -m proof.faults --list` lists all faults"
            )
    return tuple(
        fault
        for fault in FAULTS
        if not patterns or any(fnmatchcase(fault.id, pattern) for pattern in patterns)
    )
