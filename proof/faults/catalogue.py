"""The catalogue: every fault by its id, and which of them CI runs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import UsageError
from proof.faults.fault import HELPER, RED, Fault, written
from proof.faults.scenarios import scenarios

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


#: The files of ``proof/faults/rows``, in the order of the plan.
TOPICS = (
    "configuration",
    "apparmor",
    "confinement",
    "audit_window",
    "docker",
    "workload",
    "provisioning",
    "comparisons",
    "prerequisites",
    "rollback",
    "access",
    "proxmox",
    "witnesses",
    "attacker",
    "hostile",
    "plain",
)
FAULTS: tuple[Fault, ...] = tuple(fault for topic in TOPICS for fault in written(topic))
#: Each of these scenarios applies the plan, or a large part of it, or works for minutes after a
#: restore: a fault that kills it takes as long as many others.
SLOW = frozenset(
    {
        *("tunable-back", "profile-back", "docker-back", "rehearsed", "letter"),
        *("again", "image", "network", "volume"),
    }
)


def killers(faults: Iterable[Fault] = FAULTS) -> dict[str, tuple[str, ...]]:
    """Return, for each scenario's id, the ids of the faults that prove that it can fail."""
    faults = tuple(faults)
    return {name: tuple(f.id for f in faults if name in f.kills) for name in scenarios()}


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

    Args:
        faults: all of them.
        text: ``2/3`` is the second of three parts, which differ by one fault at most.

    Raises:
        UsageError: ``text`` is not of this form, or there is no such part.
    """
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"--part {text}: expected N/M, such as 1/2, with N from 1 to M")
    return tuple(faults[number - 1 :: of])


def chosen(patterns: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults whose ids match (``F15``, ``F3*``), in the catalogue's order.

    Without a pattern, return all faults.

    Raises:
        UsageError: a pattern matches no fault.
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
