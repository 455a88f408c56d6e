"""What the lines of a journal come to: its entries, and the life of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from remediation.engine.action import Place
from remediation.engine.journal_format import (
    Accepted,
    After,
    Before,
    Finished,
    Line,
    RolledBack,
    RollingBack,
)


class Life(StrEnum):
    """The life of an entry, from the before-image of its action to the rollback.

    The arrows are the lines of the journal::

                        before                        rolled_back
             (nothing) ────────▶ PENDING ────────────────────────────▶ ROLLED_BACK
                                 │  ▲  │                                ▲   ▲
              rolling_back,      │  │  │ after                          │   │
              finished, or the   │  │  ▼                                │   │
              lock is free       │  │  APPLIED ─────────────────────────┘   │
                                 │  │  └─▶ before (a further run): PENDING  │
                                 ▼  │ before (a further run)                │
                                 INTERRUPTED ───────────────────────────────┘

    PENDING, APPLIED and INTERRUPTED are open: there is something to roll back. From each of them
    ``accepted`` leads to ACCEPTED, and from INTERRUPTED ``after`` to APPLIED. ``rolled_back`` with
    ``last`` takes away the image of the last run, and if an earlier run left one, the entry is
    APPLIED again. After ROLLED_BACK and ACCEPTED a ``before`` begins a new entry.

    A line cannot tell that the program which wrote it is gone. The lock can: where nobody holds it,
    PENDING is INTERRUPTED (:meth:`JournalEntry.without_a_run`).

    This is of one action. Whether a whole run or rollback ended is :func:`unfinished`.
    """

    PENDING = "pending"
    APPLIED = "applied"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled_back"
    ACCEPTED = "accepted"

    @property
    def is_open(self) -> bool:
        """Whether there is something to roll back."""
        return self in {Life.PENDING, Life.APPLIED, Life.INTERRUPTED}


@dataclass(frozen=True)
class JournalImage:
    """What an action found, and what it left, or None if it did not come to its end."""

    before: Any
    after: Any = None


@dataclass(frozen=True)
class JournalEntry:
    """An action that the journal knows of, with an image for each run that changed it.

    The images are as they stand in the journal: see :meth:`Journal.image`. A run that did not
    come to its end leaves its image to the next one. ``action`` is the action's id, ``at`` is when
    it was first changed, ``path`` the file that it is about, if it is about one, ``plan`` the
    identity of its plan, ``line`` where the first of its images stands.
    """

    action: str
    place: Place
    images: tuple[JournalImage, ...]
    life: Life = Life.PENDING
    at: str = field(default="", compare=False)
    path: str = field(default="", compare=False)
    plan: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def before(self) -> Any:
        """What was there before any run."""
        return self.images[0].before

    @property
    def complete(self) -> bool:
        """Whether the last change was made to its end."""
        return self.life is Life.APPLIED

    def without_a_run(self) -> JournalEntry:
        """Return it as it is where nobody holds the node's lock: pending is interrupted."""
        return replace(self, life=Life.INTERRUPTED) if self.life is Life.PENDING else self


def entries(lines: Sequence[Line], ctid: int) -> list[JournalEntry]:
    """Return the open entries of a container, oldest first."""
    found: dict[str, JournalEntry] = {}
    for number, line in enumerate(lines, 1):
        if line.ctid != ctid:
            continue
        if isinstance(line, RollingBack | Finished):
            found = {action: entry.without_a_run() for action, entry in found.items()}
        elif isinstance(line, Before | After | RolledBack | Accepted):
            entry = found.get(line.action)
            if entry is not None and entry.life.is_open:
                found[line.action] = _next(entry, line)
            elif isinstance(line, Before):
                found.pop(line.action, None)  # a new entry is younger than those that are open
                found[line.action] = _new(line, number)
    return [entry for entry in found.values() if entry.life.is_open]


def _new(line: Before, number: int) -> JournalEntry:
    image = JournalImage(line.state)
    return JournalEntry(
        line.action, line.machine, (image,), at=line.at, path=line.path, plan=line.plan, line=number
    )


def _next(entry: JournalEntry, line: Before | After | RolledBack | Accepted) -> JournalEntry:
    """Return an open entry after one more line: the arrows of :class:`Life`."""
    *earlier, last = entry.images
    match line:
        case Before() if entry.complete:
            images = (*entry.images, JournalImage(line.state))
            return replace(entry, place=line.machine, images=images, life=Life.PENDING)
        case Before():
            return replace(entry, place=line.machine, life=Life.PENDING)
        case After():
            images = (*earlier, replace(last, after=line.state))
            return replace(entry, images=images, life=Life.APPLIED)
        case RolledBack() if line.last and earlier:
            return replace(entry, images=tuple(earlier), life=Life.APPLIED)
        case RolledBack():
            return replace(entry, life=Life.ROLLED_BACK)
    return replace(entry, life=Life.ACCEPTED)


def unfinished(lines: Sequence[Line], ctid: int) -> bool:
    """Whether a run or a rollback of a container began, did not end, and left an open entry."""
    mine = [line for line in lines if line.ctid == ctid]
    return bool(entries(lines, ctid)) and not isinstance(mine[-1], Finished)
