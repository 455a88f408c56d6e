"""A plan as data: its steps in order, the journal, and what a run of it tells and asks.

:mod:`remediation.engine.apply` applies it; :mod:`remediation.engine.rollback` rolls it back.
Nothing in this package knows of Docker or AppArmor.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.errors import UsageError
from remediation.engine.action import Action, Consequence, Drift, Place, Step
from remediation.engine.errors import ACCEPT, ROLLBACK

if TYPE_CHECKING:
    from remediation.engine.journal import Journal
    from remediation.engine.journal_entries import JournalEntry


class Stage(StrEnum):
    """The stages of a run, in order. Only inside a stage is anything changed.

    The sweep of interruptions cuts runs off at each command of each stage.
    """

    RECORD = "record"  # the before-images of all actions are written
    APPLY = "apply"  # one action is applied
    COMPLETE = "complete"  # what it left is written
    START = "start"  # a rollback starts the container
    KEEP = "keep"  # a rollback copies what somebody changed
    BEGIN = "begin rollback"  # the journal's mark
    RESTORE = "restore"  # one before-image is brought back
    CONSEQUENCE = "consequence"  # a reload or restart, of either way
    CLOSE = "close"  # the journal hears what is rolled back
    FINISH = "finish"  # the journal hears that apply has ended


@dataclass(frozen=True)
class Plan:
    """Steps in the order in which they are applied, over the journal of their before-images.

    Args:
        tell: is called with one line before anything that takes time.
        not_checked: why some of the plan's steps cannot be checked now, a sentence each.
        deferred: steps that need the container running. Only a rollback takes them, and starts the
            container first.
        start_container: starts the container for the deferred steps, and stops it again if it was
            stopped before the plan.
        stopped_by_rollback: whether a rollback has stopped the container, so that it must be
            started once more before what is inside can be verified.
        whole: whether these are all steps of the plan.
        exclusive: holds the node for one run, given what the run does.
        at: is called before each stage, with the id of its action or consequence, or with an empty
            id if the stage is of the whole plan.
    """

    steps: Sequence[Step]
    journal: Journal
    tell: Callable[[str], None] = lambda _: None
    not_checked: Sequence[str] = ()
    container_exists: bool = True
    deferred: Sequence[Step] = ()
    start_container: Callable[[], AbstractContextManager[None]] = nullcontext
    stopped_by_rollback: Callable[[], bool] = lambda: False
    whole: bool = True
    exclusive: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()
    at: Callable[[Stage, str], None] = lambda _stage, _id: None

    def only(self, asked: Sequence[str]) -> Plan:
        """Return the plan of some actions only.

        They are ``asked`` by ids, and by clauses, or their beginnings up to a dot: ``STEP-2``
        includes ``STEP-2.1``. An empty sequence asks for everything. Raises UsageError if no step
        has such an id or clause.
        """
        actions = [step.action for step in self.all_steps]
        require_known(asked, [a.requirement for a in actions], [a.id for a in actions])
        if not asked:
            return self
        steps, deferred = (
            [s for s in steps if s.action.id in asked or _within(s.action.requirement, asked)]
            for steps in (self.steps, self.deferred)
        )
        return replace(self, steps=steps, deferred=deferred, whole=False)

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps and the deferred steps, in the plan's order."""
        return (*self.steps, *self.deferred)

    def drifts(self) -> list[tuple[Step, Drift | None]]:
        """Return each step with its drift. Changes nothing."""
        return [(step, step.action.check(step.on)) for step in self.steps]

    def step(self, action: str) -> Step | None:
        """Return the step of an action, by its id, or None if the plan has none."""
        return next((step for step in self.all_steps if step.action.id == action), None)

    def title(self, action: str) -> str:
        """Return the title of an action by its id. If the plan does not have it, return the id."""
        step = self.step(action)
        return action if step is None else step.action.title

    def enter(self, stage: Stage, of: Action[Any] | Consequence | None = None) -> None:
        """Announce a stage of an action, of a consequence, or of the whole plan.

        Raises TransportError if the connection that held the node's lock was lost.
        """
        what = of.title if of else "the plan"
        with self.exclusive(f"{stage}: {what} of container {self.journal.ctid}"):
            self.at(stage, of.id if of else "")


def require_known(asked: Iterable[str], clauses: Iterable[str], actions: Iterable[str]) -> None:
    """Raise UsageError for a text that is neither an action's id nor the beginning of a clause."""
    known = [*sorted(set(clauses)), *actions]
    for text in asked:
        if not any(_within(one, [text]) for one in known):
            raise UsageError(f"no action for {text!r}; there are: {', '.join(known)}")


def once(groups: Iterable[tuple[Consequence, ...]]) -> list[Consequence]:
    """Return every consequence once, in the order in which they come up."""
    return list(dict.fromkeys(consequence for group in groups for consequence in group))


def elsewhere(entry: JournalEntry | None, step: Step) -> str:
    """Return what to do if an entry is about another file than the step; empty if it is not."""
    path = step.action.path
    if entry is None or not entry.path or entry.path == path:
        return ""
    return (
        f"it was done to {entry.path}, and here it is {path}: name the same repository and runtime "
        "as then"
    )


def another_machine(journal: Journal, entry: JournalEntry, step: Step, machine: str) -> str:
    """Return what to do if an entry is of another machine than this one; empty if not."""
    action, machine_of = step.action, step.machine_of
    if machine_of is None or not machine:
        return ""
    earlier = [journal.image(image.before, action.before) for image in entry.images]
    if not {*map(machine_of, earlier)} - {"", machine}:
        return ""
    ids = [other.action for other in journal.entries() if other.place is Place.CONTAINER]
    return (
        f"{journal.path} on {journal.machine} holds before-images of another container "
        f"{journal.ctid} (another /etc/machine-id), which a rollback would restore into this one. "
        "If that one is gone, give them up, with the same --target: "
        f"{ACCEPT} {shlex.join([action.id, *ids])}. If it is the same one with a new id, roll back "
        f"first: {ROLLBACK} and --force"
    )


def lost(entry: JournalEntry, ctid: int) -> str:
    """Return why an entry has no step, and what to do: a plan omits the steps of what is gone."""
    gone = f"container {ctid}" + (f" or the directory of {entry.path}" if entry.path else "")
    return (
        f"{gone} no longer exists, or this version has no action {entry.action!r}. If it is gone "
        f"for good: {ACCEPT}"
    )


def _within(requirement: str, asked: Sequence[str]) -> bool:
    return any(requirement == prefix or requirement.startswith(f"{prefix}.") for prefix in asked)
