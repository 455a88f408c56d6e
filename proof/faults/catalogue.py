"""The catalogue: every fault, and which of them are chosen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from docker_lxc_gate.errors import UsageError
from proof.faults.fault import HELPER, Fault
from proof.faults.scenarios import scenarios

ROWS = Path(__file__).parent / "rows"
#: Each of these scenarios applies the plan, or a large part of it, or works for minutes after a
#: restore: a fault that kills it takes as long as many others.
SLOW = frozenset(
    {
        *("tunable-back", "profile-back", "docker-back", "rehearsed", "letter"),
        *("again", "image", "network", "volume", "escape-docker", "escape-privileged"),
    }
)


def written(topic: str) -> tuple[Fault, ...]:
    """Return the faults of ``proof/faults/rows/TOPIC.toml``."""
    text = (ROWS / f"{topic}.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[Literal["fault"], tuple[Fault, ...]])["fault"]


FAULTS = tuple(fault for path in sorted(ROWS.glob("*.toml")) for fault in written(path.stem))
BY_ID = {fault.id: fault for fault in FAULTS}


def sample(day: str, faults: Iterable[Fault] = FAULTS) -> tuple[Fault, ...]:
    """Return the faults of a day: one at least for each scenario that is not in :data:`SLOW`.

    For each scenario, the hash of the day and the id chooses among the faults that kill it. Left
    out are those that take minutes: of slow scenarios, of ``plain``, and of another Debian.
    """
    quick = [
        fault
        for fault in faults
        if fault.start != HELPER and not fault.release and not SLOW.intersection(fault.asked())
    ]
    killers = ([f for f in quick if name in f.kills] for name in scenarios())
    drawn = {min(its, key=lambda f: _number(day + f.id)).id for its in killers if its}
    return tuple(fault for fault in quick if fault.id in drawn)


def part(text: str, faults: Iterable[Fault] = FAULTS) -> tuple[Fault, ...]:
    """Return one of several parts of some faults: ``2/3`` is the second of three.

    The hash of a fault's id says which part it belongs to, so parts that were run on different days
    add up, whatever rows were added. Raises UsageError if there is no such part.
    """
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    number, of = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"--part {text}: expected N/M, such as 1/2, with N from 1 to M")
    return tuple(fault for fault in faults if _number(fault.id) % of == number - 1)


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
