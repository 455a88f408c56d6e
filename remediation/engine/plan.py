"""The mechanics: ordered actions are applied, all or none, and rolled back, newest first.

Nothing here knows of Docker or AppArmor. What an action is stands in
:mod:`remediation.engine.action`,
how each is undone in :mod:`remediation.engine.rollback`.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from remediation.engine.action import Outcome
from remediation.engine.rollback import ACCEPT, Undoing, elsewhere, once, unread
from targets.errors import (
    Busy,
    ChangedSince,
    FactError,
    NotClean,
    RemediationError,
    RollbackFailed,
    UsageError,
    VerifyFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from remediation.engine.action import Action, Consequence, Step
    from remediation.engine.journal import Journal
    from remediation.engine.journal_entries import Entry
    from targets.drift import Drift

_ROLLBACK = "python -m remediation rollback, with the same --target"


@dataclass
class _Run:
    """What an apply has begun.

    ``begun`` are its actions, by id, with how many images each had in the journal before: where
    the run's own did not come to the disk, the newest there is an earlier run's. ``changes`` is
    whether it came as far as to change anything but the journal.
    """

    begun: dict[str, int] = field(default_factory=dict)
    changes: bool = False


@dataclass
class Plan:
    """Ordered steps over one journal.

    Args:
        steps: in the order in which they are applied.
        journal: where their before-images lie.
        tell: hears one line before anything that takes time.
        unasked: what the plan holds beyond these steps and cannot look at now, and why.
        there: whether what it is for is there at all.
        asleep: those steps, for a rollback, which are possible inside ``awake``.
        awake: starts what the sleeping steps work on, and lets it end again if that is due.
        stopped: whether an undoing stopped it: then it is started once more, to be looked at.
        whole: whether these are all the steps there are.
        exclusive: holds the node for one run, given what for.
        at: hears of every stage before it is entered, and of which action or consequence, by its
            id: ``record`` (of all at once), ``apply``, ``complete``, ``follow``, ``finish``; on the
            way back ``wake``, ``keep``, ``roll back``, ``undo``, ``follow``, ``close``. Only in
            these is anything changed, so a run can be cut off in them, which the sweep of
            interruptions does.
    """

    steps: Sequence[Step]
    journal: Journal
    tell: Callable[[str], None] = lambda _: None
    unasked: Sequence[str] = ()
    there: bool = True
    asleep: Sequence[Step] = ()
    awake: Callable[[], AbstractContextManager[None]] = nullcontext
    stopped: Callable[[], bool] = lambda: False
    whole: bool = True
    exclusive: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()
    at: Callable[[str, str], None] = lambda _stage, _action: None

    def only(self, asked: Sequence[str]) -> Plan:
        """Return the plan of these actions, or of those that implement these clauses.

        Args:
            asked: ids of actions, and clauses, or their beginnings up to a dot: ``STEP-2`` is
                ``STEP-2.1`` too. None given is all.

        Raises:
            UsageError: an id or a clause of which there is no step.
        """
        actions = [step.action for step in (*self.steps, *self.asleep)]
        require_known(asked, [a.requirement for a in actions], [a.id for a in actions])
        if not asked:
            return self
        chosen, asleep = (
            [step for step in steps if _is_asked(step.action, asked)]
            for steps in (self.steps, self.asleep)
        )
        return replace(self, steps=chosen, asleep=asleep, whole=False)

    def drifts(self) -> list[tuple[Step, Drift | None]]:
        """Return each step with its drift; changes nothing."""
        return [(step, step.action.check(step.on)) for step in self.steps]

    def price(self, drifts: Iterable[tuple[Step, Drift | None]]) -> list[str]:
        """Return what an apply would stop, hide or remove, and what it refuses, a sentence each."""
        sentences: list[str] = []
        for step in [step for step, drift in drifts if drift is not None]:
            try:
                step.action.require_reversible(step.on)
                sentences += step.action.side_effects(step.on, None)
            except FactError as refused:
                sentences.append(f"nothing is begun: {refused}")
        return sentences

    def require_reversible(self, drifts: Iterable[tuple[Step, Drift | None]]) -> None:
        """Raise FactError if an apply would refuse to begin; changes nothing."""
        for step in [step for step, drift in drifts if drift is not None]:
            step.action.require_reversible(step.on)

    def enter(self, stage: str, of: Action[Any] | Consequence | None = None) -> None:
        """Announce a stage, of the whole plan if of nothing else.

        Without the node's lock, lost with a connection, none is entered.
        """
        what = of.title if of else "the plan"
        with self.exclusive(f"{stage}: {what} of container {self.journal.ctid}"):
            self.at(stage, of.id if of else "")

    # -- forward

    def apply(self) -> list[Outcome]:
        """Bring about every desired state, or roll back everything.

        Returns:
            What became of each action, in order, then of each consequence.

        Raises:
            NotClean: an earlier run did not end; its journal must be rolled back first.
            LockedError: another run has the node.
            VerifyFailed: drift was left after an action; everything is rolled back.
            RemediationError: an action failed; everything is rolled back.
            RollbackFailed: and that failed, too.
        """
        run = _Run()
        try:
            with self.exclusive(f"apply the plan to container {self.journal.ctid}"):
                return self._forward(run)
        except BaseException as error:  # Ctrl-C and our own mistakes, too
            # Outside: the lock has waited for the last command, which may be at work without us.
            self._give_up(run, error)
            raise

    def _give_up(self, run: _Run, error: BaseException) -> None:
        """Roll back what this run began, if it began anything; nothing half-applied is left."""
        if not run.begun:
            return
        try:
            with self.exclusive(f"roll back what failed in container {self.journal.ctid}"):
                self.journal.forget()
                mine = {
                    entry.action
                    for entry in self.journal.entries()
                    if len(entry.images) > run.begun.get(entry.action, len(entry.images))
                }
                if mine:
                    self.tell("rolling back what was changed")
                    self._back(mine, force=False, last=True)
        except (RollbackFailed, ChangedSince) as failed:
            raise failed from error
        except RemediationError as failed:
            if run.changes:
                raise RollbackFailed([("rolling back", failed)]) from error
            self.tell(
                f"nothing was changed, but the journal could not be told ({failed}); when it can, "
                f"end that run there, too: {_ROLLBACK}"
            )

    def _forward(self, run: _Run) -> list[Outcome]:
        self.journal.forget()
        if (ctid := self.journal.interrupted()) is not None:
            raise NotClean(
                f"{self.journal.path} holds the before-images of a run for container {ctid} that "
                f"did not end. Take them back first: {_ROLLBACK}"
                + ("" if ctid == self.journal.ctid else f", but container {ctid}")
            )
        found = self.drifts()
        # All before-images first: an action may change what another one is about to look at.
        self._record([step for step, drift in found if drift is not None], run)
        outcomes: list[Outcome] = []
        changed: list[Step] = []
        for step, drift in found:
            outcomes.append(self._apply_one(step, drift, run))
            if outcomes[-1].changed:
                changed.append(step)
        for consequence in once(step.then for step in changed):
            self.tell(consequence.title)
            self.enter("follow", consequence)
            consequence.run()
            why = "something it depends on changed"
            outcomes.append(Outcome(consequence.id, consequence.title, "", True, why))
        for step in changed:
            _verify(step)
        if changed:
            self.enter("finish")
            self.journal.finish()
        return outcomes

    def _record(self, steps: Sequence[Step], run: _Run) -> None:
        open_ = {entry.action: entry for entry in self.journal.entries()}
        for step in steps:
            if said := elsewhere(open_.get(step.action.id), step):
                raise NotClean(f"{step.action.title}: {said}, and take that back first")
            step.action.require_reversible(step.on)
        images = [(s.action.id, s.place, s.action.capture(s.on)) for s in steps]
        if images:
            earlier = {entry.action: len(entry.images) for entry in self.journal.entries()}
            run.begun |= {action: earlier.get(action, 0) for action, _, _ in images}
            self.enter("record")
            paths = {s.action.id: getattr(s.action, "path", "") for s in steps}
            self.journal.record(images, paths)

    def _apply_one(self, step: Step, drift: Drift | None, run: _Run) -> Outcome:
        action = step.action
        if drift is None:  # before anything was changed; and now?
            drift = action.check(step.on)
            if drift is None:
                return Outcome(action.id, action.title, action.requirement, False, "already so")
            self._record([step], run)
        self.tell(action.title)
        self.enter("apply", action)
        run.changes = True
        action.apply(step.on)
        _verify(step)
        after = action.capture(step.on)
        self.enter("complete", action)
        self.journal.complete(action.id, step.place, after)
        return Outcome(action.id, action.title, action.requirement, True, drift.summary)

    # -- and back

    def rollback(self, *, force: bool = False) -> list[Outcome]:
        """Roll back, in reverse order, everything the journal holds for these steps.

        Args:
            force: overwrite what somebody changed since, keeping a copy.

        Returns:
            What became of each action; empty if there was nothing to roll back.

        Raises:
            NotClean: another container's plan was applied after this one, and still is.
            LockedError: another run has the node.
            ChangedSince: somebody changed what would be overwritten; nothing was rolled back.
            Busy: something else is at work on it; nothing was rolled back, forced or not.
            RollbackFailed: every undo that failed; the others were done, and the journal stays.
        """
        with self.exclusive(f"roll back the plan from container {self.journal.ctid}"):
            self.journal.forget()
            if newer := self.journal.newer():
                raise NotClean(
                    f"the plan was applied to container {newer[-1]} after it was to "
                    f"{self.journal.ctid}, and they share the node. Take that back first: "
                    f"{_ROLLBACK} of container {newer[-1]}. If it is gone for good, and what was "
                    f"changed for it may stay: {ACCEPT} of container {newer[-1]}"
                )
            actions = {step.action.id for step in (*self.steps, *self.asleep)}
            if self.whole:  # also what this plan, today, knows nothing of
                actions |= {entry.action for entry in self.journal.entries()}
            return self._back(actions, force=force)

    def rollback_price(self) -> list[str]:
        """Return what a rollback would stop, hide or remove, a sentence each."""
        sentences: list[str] = []
        for entry in reversed(self.journal.entries()):
            step, machine = self.step(entry), self.journal.name(entry.place)
            if step in self.asleep:
                sentences.append(f"{machine} is started, to roll back: {self.title(entry.action)}")
            elif step is not None:
                try:
                    before = self.journal.image(entry.before, step.action.before)
                    sentences += step.action.side_effects(step.on, before)
                except Exception as error:  # noqa: BLE001 - the others can be rolled back
                    said = unread(error, machine)
                    title = self.title(entry.action)
                    sentences.append(f"{title}: what is stopped for it is unknown: {said}")
        return sentences

    def step(self, entry: Entry) -> Step | None:
        """Return the step that an entry is of, or None if it is not known, or not there."""
        return self._of(entry.action)

    def _of(self, action: str) -> Step | None:
        known = (*self.steps, *self.asleep)
        return next((step for step in known if step.action.id == action), None)

    def title(self, action: str) -> str:
        """Return the title of an action by its id; of one that the plan does not have, the id."""
        step = self._of(action)
        return action if step is None else step.action.title

    def _back(self, actions: set[str], *, force: bool, last: bool = False) -> list[Outcome]:
        """Undo what the journal holds for these actions, or only what the last run did."""
        entries = [entry for entry in self.journal.entries() if entry.action in actions]
        if not entries:
            return []
        asleep = [entry for entry in entries if self.step(entry) in self.asleep]
        others = [entry for entry in entries if entry not in asleep]
        undoing = Undoing(self)
        changed_since = self._changed_since(others, undoing.failures, force=force, last=last)
        with ExitStack() as stack:
            if asleep and undoing.wakes(stack, [entry.action for entry in asleep]):
                changed_since += self._changed_since(
                    asleep, undoing.failures, force=force, last=last
                )
            entries = [entry for entry in entries if entry.action not in undoing.failures]
            for step, drift in changed_since:
                self.enter("keep", step.action)
                kept = self.journal.keep(step.action.id, drift.is_)
                self.tell(f"{step.action.title}: what somebody had changed is kept in {kept}")
            if entries:  # else nothing is begun, and so nothing is to be ended
                self.enter("roll back")
                self.journal.roll_back()
            ordered = sorted(entries, key=self._place, reverse=True)
            return undoing.undo(ordered, last=last)

    def _place(self, entry: Entry) -> int:
        """Return where in the plan's order an action stands.

        That is not the journal's order where an action drifted only later; what the plan does
        not know comes first.
        """
        order = [step.action.id for step in (*self.steps, *self.asleep)]
        return order.index(entry.action) if entry.action in order else -1

    def _changed_since(
        self, entries: Sequence[Entry], failures: dict[str, Exception], *, force: bool, last: bool
    ) -> list[tuple[Step, Drift]]:
        """Return what would be lost; raises ChangedSince unless that is wished, Busy in any case.

        What cannot be looked at is added to the failures: it is not overwritten unseen.
        """
        found: list[tuple[Step, Drift]] = []
        for entry in entries:
            if (step := self.step(entry)) is None or elsewhere(entry, step):
                continue
            try:
                images = [
                    (self.image(step, image.before), self._left(step, image.after))
                    for image in (entry.images[-1:] if last else entry.images)
                ]
            except FactError:  # its undoing will say so, and stops no other one
                continue
            try:
                drift = _changed_since(step, images)
            except Busy:  # nothing is begun: rolled back by half it may not even start
                raise
            except Exception as error:  # noqa: BLE001 - one that cannot be read stops no other
                failures[entry.action] = unread(error, step.on.machine)
                continue
            if drift is not None:
                found.append((step, drift))
        if found and not force:
            raise ChangedSince({step.action.title: drift for step, drift in found})
        return found

    def image(self, step: Step, stored: Any) -> Any:
        """Return an image as the step's action has it; None is none."""
        return None if stored is None else self.journal.image(stored, step.action.before)

    def _left(self, step: Step, stored: Any) -> Any:
        """Return what a run left; what cannot be read of it is not needed to roll it back."""
        try:
            return self.image(step, stored)
        except FactError:
            return None


def require_known(asked: Iterable[str], clauses: Iterable[str], actions: Iterable[str]) -> None:
    """Raise UsageError for what is no clause, or the beginning of one, and no action's id."""
    known = [*sorted(set(clauses)), *actions]
    for each in asked:
        if not any(_within(one, [each]) for one in known):
            raise UsageError(f"no action for {each!r}; there are: {', '.join(known)}")


def _changed_since(step: Step, images: Sequence[tuple[Any, Any]]) -> Drift | None:
    """Return what somebody changed of what each of these runs left; the last of it, if of many."""
    found = None
    for before, after, now in _compared(step, images, step.action.current(step.on)):
        drift = None if now is None else step.action.changed_since(now, before, after)
        found = drift or found
    return found


def _compared(
    step: Step, images: Sequence[tuple[Any, Any]], current: Any
) -> list[tuple[Any, Any, Any]]:
    """Return before, after and what stood there then, for each run that is to be rolled back.

    What each later run found, and what stands there now, is held against what was left before it.
    """
    if step.action.purges:  # whatever a later run found: its package is the first one's
        return [(*images[0], current)]
    later = [before for before, _ in images[1:]]
    return [(*pair, now) for pair, now in zip(images, [*later, current], strict=True)]


def _is_asked(action: Action[Any], asked: Sequence[str]) -> bool:
    return action.id in asked or _within(action.requirement, asked)


def _within(requirement: str, asked: Sequence[str]) -> bool:
    return any(requirement == each or requirement.startswith(f"{each}.") for each in asked)


def _verify(step: Step) -> None:
    left = step.action.check(step.on)
    if left is not None:
        raise VerifyFailed(
            f"{step.action.title} was applied on {step.on.machine}, and still: {left.summary}"
        )
