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
    """The life of an open entry, from the before-image of its action to the rollback.

    The lines of the journal change it::

        before                        (nothing), APPLIED, INTERRUPTED → PENDING
        after                         PENDING, INTERRUPTED → APPLIED
        rolling_back, finished        PENDING → INTERRUPTED
        rolled_back, accepted         each of them → (nothing)
        rolled_back with last         the image of the last run goes; an earlier one: → APPLIED

    A line cannot tell that the program which wrote it is gone. The lock can: where nobody holds it,
    PENDING is INTERRUPTED (:meth:`JournalEntry.without_a_run`).

    This is of one action. Whether a whole run or rollback ended is :func:`unfinished`.
    """

    PENDING = "pending"
    APPLIED = "applied"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class JournalImage:
    """What an action found, and what it left, or None if it did not come to its end.

    ``plan`` is the identity of the plan of the run, ``line`` where the run's before-image stands.
    """

    before: Any
    after: Any = None
    plan: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class JournalEntry:
    """An action that the journal knows of, with an image for each run that changed it.

    The images are as they stand in the journal: see :meth:`Journal.image`. A run that did not
    come to its end leaves its image to the next one. ``action`` is the action's id, ``at`` is when
    it was first changed, ``path`` the file that it is about, if it is about one, ``line`` where the
    first of its images stands.
    """

    action: str
    place: Place
    images: tuple[JournalImage, ...]
    life: Life = Life.PENDING
    at: str = field(default="", compare=False)
    path: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def plan(self) -> str:
        """The identity of the plan that changed it last."""
        return self.images[-1].plan

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
    by_action: dict[str, JournalEntry] = {}
    for number, line in enumerate(lines, 1):
        if line.ctid != ctid:
            continue
        if isinstance(line, RollingBack | Finished):
            by_action = {action: entry.without_a_run() for action, entry in by_action.items()}
        elif isinstance(line, Before | After | RolledBack | Accepted):
            if line.action in by_action:
                entry = _next(by_action[line.action], line, number)
            else:
                entry = _new(line, number) if isinstance(line, Before) else None
            if entry is not None:
                by_action[line.action] = entry
            else:
                by_action.pop(line.action, None)
    return list(by_action.values())


def _new(line: Before, number: int) -> JournalEntry:
    image = JournalImage(line.state, plan=line.plan, line=number)
    return JournalEntry(
        line.action, line.machine, (image,), at=line.at, path=line.path, line=number
    )


def _next(
    entry: JournalEntry, line: Before | After | RolledBack | Accepted, number: int
) -> JournalEntry | None:
    """Return an entry after one more line, as :class:`Life` says; None if that ends it."""
    *earlier, last = entry.images
    match line:
        case Before():
            if entry.complete:
                earlier, last = [*entry.images], JournalImage(line.state)
            images = (*earlier, replace(last, plan=line.plan, line=number))
            return replace(entry, place=line.machine, images=images, life=Life.PENDING)
        case After():
            images = (*earlier, replace(last, after=line.state))
            return replace(entry, images=images, life=Life.APPLIED)
        case RolledBack() if line.last and earlier:
            return replace(entry, images=tuple(earlier), life=Life.APPLIED)
    return None


def never_begun(entries: Sequence[JournalEntry]) -> set[str]:
    """Return the actions in the container that a run recorded, and was cut off before it began.

    All of the node's actions come before those in the container.
    """
    if all(entry.complete for entry in entries if entry.place is Place.NODE):
        return set()
    return {
        entry.action
        for entry in entries
        if entry.place is Place.CONTAINER and not entry.complete and len(entry.images) == 1
    }


def unfinished(lines: Sequence[Line], ctid: int) -> bool:
    """Whether a run or a rollback of a container began, did not end, and left an open entry.

    A line without its end adds nothing: what was changed before it stands in whole lines, and they
    leave the run open.
    """
    mine = [line for line in lines if line.ctid == ctid]
    return bool(entries(lines, ctid)) and not isinstance(mine[-1], Finished)


def newer(lines: Sequence[Line], ctid: int) -> list[int]:
    """Return the containers whose plans were applied after this one's and still are."""
    by_ctid = {other: entries(lines, other) for other in dict.fromkeys(line.ctid for line in lines)}
    began = {other: min(entry.line for entry in held) for other, held in by_ctid.items() if held}
    return [other for other, at in began.items() if ctid in began and at > began[ctid]]
