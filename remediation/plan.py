"""The mechanics: ordered actions are applied, all or none, and taken back, newest first.

Nothing here knows of Docker or AppArmor. What an action is stands in :mod:`remediation.action`,
how each is undone in :mod:`remediation.undoing`.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from remediation.action import Outcome
from remediation.errors import (
    Busy,
    FactError,
    Meddled,
    NotClean,
    RemediationError,
    RollbackFailed,
    UsageError,
    VerifyFailed,
)
from remediation.undoing import ACCEPT, Undoing, elsewhere, once, unread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from remediation.action import Drift, Step
    from remediation.journal import Entry, Journal

_ROLLBACK = "python -m remediation rollback, with the same --target"


@dataclass
class _Run:
    """What an apply has begun.

    ``begun`` are its actions, with how many images each had in the journal before: where the run's
    own did not come to the disk, the newest there is an earlier run's. ``changes`` is whether it
    came as far as to change anything but the journal.
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
        at: hears of every stage before it is entered, and of which action: ``record`` (of all
            at once), ``apply``, ``complete``, ``follow``, ``finish``; on the way back ``wake``,
            ``keep``, ``roll back``, ``undo``, ``follow``, ``close``. Only in these is anything
            changed, so a run can be cut off in them, which the sweep of interruptions does.
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

    def only(self, requirements: Sequence[str]) -> Plan:
        """Return the plan of the steps that implement one of these clauses.

        Args:
            requirements: ids, or their beginnings up to a dot: ``STEP-2`` is ``STEP-2.1`` too.
                None given is all.

        Raises:
            UsageError: a clause that no step implements.
        """
        require_known(requirements, {s.action.requirement for s in (*self.steps, *self.asleep)})
        if not requirements:
            return self
        chosen, asleep = (
            [step for step in steps if _within(step.action.requirement, requirements)]
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
                sentences += step.action.price(step.on, None)
            except FactError as refused:
                sentences.append(f"nothing is begun: {refused}")
        return sentences

    def require_reversible(self, drifts: Iterable[tuple[Step, Drift | None]]) -> None:
        """Raise FactError if an apply would refuse to begin; changes nothing."""
        for step in [step for step, drift in drifts if drift is not None]:
            step.action.require_reversible(step.on)

    def enter(self, stage: str, action: str) -> None:
        """Announce a stage; without the node's lock, lost with a connection, none is entered."""
        with self.exclusive(f"{stage}: {action or 'the plan'} of container {self.journal.ctid}"):
            self.at(stage, action)

    # -- forward

    def apply(self) -> list[Outcome]:
        """Bring about every desired state, or take back everything.

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
        """Take back what this run began, if it began anything; nothing half-applied is left."""
        if not run.begun:
            return
        try:
            with self.exclusive(f"take back what failed in container {self.journal.ctid}"):
                self.journal.forget()
                mine = {
                    entry.action
                    for entry in self.journal.entries()
                    if len(entry.images) > run.begun.get(entry.action, len(entry.images))
                }
                if mine:
                    self.tell("taking back what was changed")
                    self._back(mine, force=False, last=True)
        except (RollbackFailed, Meddled) as failed:
            raise failed from error
        except RemediationError as failed:
            if run.changes:
                raise RollbackFailed([("taking back", failed)]) from error
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
            self.tell(consequence.name)
            self.enter("follow", consequence.name)
            consequence.run()
            outcomes.append(Outcome(consequence.name, "", True, "something it depends on changed"))
        for step in changed:
            _verify(step)
        if changed:
            self.enter("finish", "")
            self.journal.finish()
        return outcomes

    def _record(self, steps: Sequence[Step], run: _Run) -> None:
        open_ = {entry.action: entry for entry in self.journal.entries()}
        for step in steps:
            if said := elsewhere(open_.get(step.action.name), step):
                raise NotClean(f"{step.action.name}: {said}, and take that back first")
            step.action.require_reversible(step.on)
        images = [(s.action.name, s.on.machine, s.action.capture(s.on)) for s in steps]
        if images:
            earlier = {entry.action: len(entry.images) for entry in self.journal.entries()}
            run.begun |= {name: earlier.get(name, 0) for name, _, _ in images}
            self.enter("record", "")
            paths = {s.action.name: getattr(s.action, "path", "") for s in steps}
            self.journal.record(images, paths)

    def _apply_one(self, step: Step, drift: Drift | None, run: _Run) -> Outcome:
        action = step.action
        if drift is None:  # before anything was changed; and now?
            drift = action.check(step.on)
            if drift is None:
                return Outcome(action.name, action.requirement, False, "already so")
            self._record([step], run)
        self.tell(action.name)
        self.enter("apply", action.name)
        run.changes = True
        action.apply(step.on)
        _verify(step)
        after = action.capture(step.on)
        self.enter("complete", action.name)
        self.journal.complete(action.name, step.on.machine, after)
        return Outcome(action.name, action.requirement, True, drift.summary)

    # -- and back

    def rollback(self, *, force: bool = False) -> list[Outcome]:
        """Take back, in reverse order, everything the journal holds for these steps.

        Args:
            force: overwrite what somebody changed since, keeping a copy.

        Returns:
            What became of each action; empty if there was nothing to take back.

        Raises:
            NotClean: another container's plan was applied after this one, and still is.
            LockedError: another run has the node.
            Meddled: somebody changed what would be overwritten; nothing was taken back.
            Busy: something else is at work on it; nothing was taken back, forced or not.
            RollbackFailed: every undo that failed; the others were done, and the journal stays.
        """
        with self.exclusive(f"take back the plan from container {self.journal.ctid}"):
            self.journal.forget()
            if newer := self.journal.newer():
                raise NotClean(
                    f"the plan was applied to container {newer[-1]} after it was to "
                    f"{self.journal.ctid}, and they share the node. Take that back first: "
                    f"{_ROLLBACK} of container {newer[-1]}. If it is gone for good, and what was "
                    f"changed for it may stay: {ACCEPT} of container {newer[-1]}"
                )
            names = {step.action.name for step in (*self.steps, *self.asleep)}
            if self.whole:  # also what this plan, today, knows nothing of
                names |= {entry.action for entry in self.journal.entries()}
            return self._back(names, force=force)

    def rollback_price(self) -> list[str]:
        """Return what a rollback would stop, hide or remove, a sentence each."""
        sentences: list[str] = []
        for entry in reversed(self.journal.entries()):
            step = self.step(entry)
            if step in self.asleep:
                sentences.append(f"{entry.machine} is started, to take back: {entry.action}")
            elif step is not None:
                try:
                    before = self.journal.image(entry.before, step.action.before)
                    sentences += step.action.price(step.on, before)
                except Exception as error:  # noqa: BLE001 - the others can be rolled back
                    said = unread(error, entry.machine)
                    sentences.append(f"{entry.action}: what is stopped for it is unknown: {said}")
        return sentences

    def step(self, entry: Entry) -> Step | None:
        """Return the step that an entry is of, or None if it is not known, or not there."""
        known = (*self.steps, *self.asleep)
        return next((step for step in known if step.action.name == entry.action), None)

    def _back(self, names: set[str], *, force: bool, last: bool = False) -> list[Outcome]:
        """Undo what the journal holds for these actions, or only what the last run did."""
        entries = [entry for entry in self.journal.entries() if entry.action in names]
        if not entries:
            return []
        asleep = [entry for entry in entries if self.step(entry) in self.asleep]
        others = [entry for entry in entries if entry not in asleep]
        undoing = Undoing(self)
        meddled = self._meddled(others, undoing.failures, force=force, last=last)
        with ExitStack() as stack:
            if asleep and undoing.wakes(stack, [entry.action for entry in asleep]):
                meddled |= self._meddled(asleep, undoing.failures, force=force, last=last)
            entries = [entry for entry in entries if entry.action not in undoing.failures]
            for name, content in meddled.items():
                self.enter("keep", name)
                kept = self.journal.keep(name, content)
                self.tell(f"{name}: what somebody had changed is kept in {kept}")
            if entries:  # else nothing is begun, and so nothing is to be ended
                self.enter("roll back", "")
                self.journal.roll_back()
            ordered = sorted(entries, key=self._place, reverse=True)
            return undoing.undo(ordered, last=last)

    def _place(self, entry: Entry) -> int:
        """Return where in the plan's order an action stands.

        That is not the journal's order where an action drifted only later; what the plan does
        not know comes first.
        """
        order = [step.action.name for step in (*self.steps, *self.asleep)]
        return order.index(entry.action) if entry.action in order else -1

    def _meddled(
        self, entries: Sequence[Entry], failures: dict[str, Exception], *, force: bool, last: bool
    ) -> dict[str, bytes]:
        """Return what would be lost; raises Meddled unless that is wished, Busy in any case.

        What cannot be looked at is added to the failures: it is not overwritten unseen.
        """
        found: dict[str, Drift] = {}
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
            except Busy:  # nothing is begun: taken back by half it may not even start
                raise
            except Exception as error:  # noqa: BLE001 - one that cannot be read stops no other
                failures[entry.action] = unread(error, step.on.machine)
                continue
            if drift is not None:
                found[entry.action] = drift
        if found and not force:
            raise Meddled(found)
        return {name: drift.is_ for name, drift in found.items()}

    def image(self, step: Step, stored: Any) -> Any:
        """Return an image as the step's action has it; None is none."""
        return None if stored is None else self.journal.image(stored, step.action.before)

    def _left(self, step: Step, stored: Any) -> Any:
        """Return what a run left; what cannot be read of it is not needed to take it back."""
        try:
            return self.image(step, stored)
        except FactError:
            return None


def require_known(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for a clause, or the beginning of one, that is none of the known."""
    for each in asked:
        if not any(_within(clause, [each]) for clause in known):
            raise UsageError(f"no action for {each!r}; there are: {', '.join(sorted(known))}")


def _changed_since(step: Step, images: Sequence[tuple[Any, Any]]) -> Drift | None:
    """Return what somebody changed of what each of these runs left; the last of it, if of many."""
    found = None
    for before, after, now in _compared(step, images, step.action.standing(step.on)):
        drift = None if now is None else step.action.meddled(now, before, after)
        found = drift or found
    return found


def _compared(
    step: Step, images: Sequence[tuple[Any, Any]], standing: Any
) -> list[tuple[Any, Any, Any]]:
    """Return before, after and what stood there then, for each run that is to be taken back.

    What each later run found, and what stands there now, is held against what was left before it.
    """
    if step.action.purges:  # whatever a later run found: its package is the first one's
        return [(*images[0], standing)]
    later = [before for before, _ in images[1:]]
    return [(*pair, now) for pair, now in zip(images, [*later, standing], strict=True)]


def _within(requirement: str, asked: Sequence[str]) -> bool:
    return any(requirement == each or requirement.startswith(f"{each}.") for each in asked)


def _verify(step: Step) -> None:
    left = step.action.check(step.on)
    if left is not None:
        raise VerifyFailed(
            f"{step.action.name} was applied on {step.on.machine}, and still: {left.summary}"
        )
