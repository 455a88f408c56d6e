"""Applying a plan: before-images first, then each action, and everything back on an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.process import say_later, uninterrupted
from docker_lxc_gate.printable import Notice
from remediation.engine import errors
from remediation.engine.action import Drift, SideEffect, Step, StepOutcome
from remediation.engine.plan import Plan, Stage, another_machine, elsewhere, once
from remediation.engine.rollback import roll_back_last_run

#: Each step with its drift, as found before a change.
Drifts = Sequence[tuple[Step, Drift | None]]


def apply(plan: Plan, consent: Callable[[Drifts], object] = lambda _: None) -> list[StepOutcome]:
    """Bring about every desired state, or roll back everything.

    ``consent`` is called under the lock, before any change, with what was found. It refuses by an
    error. It must not wait for a person: other runs wait for the lock.

    Return what became of each action, in order, then of each consequence.

    Raises:
        NotClean: an earlier run was cut off; its journal must be rolled back first.
        LockedError: another run holds the node.
        VerifyFailed: drift was left after an action; everything is rolled back.
        RemediationError: an action failed; everything is rolled back.
        RollbackFailed: an action failed, and the rollback failed, too.
    """
    run = _Run(plan, consent)
    try:
        with plan.exclusive(f"apply the plan to container {plan.journal.ctid}"):
            return run.forward()
    except BaseException as error:  # Ctrl-C and our own mistakes, too
        # After the lock is released: that waits for the last command, which may still be running.
        with uninterrupted(say_later):
            run.give_up(error)
        raise


def apply_side_effects(drifts: Drifts) -> list[SideEffect]:
    """Return each thing that apply would stop, hide or remove. Changes nothing.

    Raises FactError if apply would refuse to begin.
    """
    side_effects: list[SideEffect] = []
    for step in _drifted(drifts):
        step.action.require_reversible(step.on)
        side_effects += step.action.side_effects(step.on, None)
    return side_effects


def _drifted(drifts: Drifts) -> list[Step]:
    return [step for step, drift in drifts if drift is not None]


@dataclass
class _Run:
    """One run of apply.

    ``begun`` holds, for each action that was begun, how many before-images the journal had of it:
    if this run's own is missing there, the newest one is an earlier run's. ``changes`` is whether
    anything but the journal was changed; ``images`` holds the before-images of this run, by the
    actions' ids.
    """

    plan: Plan
    consent: Callable[[Drifts], object]
    begun: dict[str, int] = field(default_factory=dict)
    changes: bool = False
    images: dict[str, Any] = field(default_factory=dict)

    def forward(self) -> list[StepOutcome]:
        """Apply every step, then run the consequences, then verify every step once more."""
        plan = self.plan
        if (ctid := plan.journal.interrupted()) is not None:
            raise errors.NotClean(
                f"{plan.journal.path} holds the before-images of a run for container {ctid} that "
                f"did not end. Roll it back first: {errors.ROLLBACK}"
                + ("" if ctid == plan.journal.ctid else f", but container {ctid}")
            )
        drifts = plan.drifts()
        self.consent(drifts)
        # All before-images first: an action may change what another one is about to look at.
        self._record(_drifted(drifts))
        outcomes: list[StepOutcome] = []
        changed: list[Step] = []
        for step, drift in drifts:
            outcomes.append(self._apply_one(step, drift))
            if outcomes[-1].changed:
                changed.append(step)
        owed = once(step.then for step in changed)
        for consequence in (consequence for consequence in owed if consequence.due(self.images)):
            plan.tell(consequence.title)
            plan.enter(Stage.CONSEQUENCE, consequence)
            consequence.run(self.images)
            why = "something it depends on changed"
            outcomes.append(StepOutcome(consequence.id, consequence.title, "", True, why))
        for step, left in plan.drifts() if changed else ():
            _require_applied(step, left)
        if changed:
            plan.enter(Stage.FINISH)
            plan.journal.note("finished")
        return outcomes

    def _record(self, steps: Sequence[Step]) -> None:
        """Write the before-images of these steps to the journal, all at once."""
        journal = self.plan.journal
        entries = {entry.action: entry for entry in journal.entries()}
        for step in steps:
            if cause := elsewhere(entries.get(step.action.id), step):
                raise errors.NotClean(f"{step.action.title}: {cause}, and roll that back first")
        for step in steps:
            step.action.require_reversible(step.on)
        images = [(step.action.id, step.place, step.action.capture(step.on)) for step in steps]
        for step, (_, _, image) in zip(steps, images, strict=True):
            entry = entries.get(step.action.id)
            machine = step.machine_of(image) if step.machine_of else ""
            if entry and (cause := another_machine(journal, entry, step, machine)):
                raise errors.NotClean(cause)
        if images:
            earlier = {action: len(entry.images) for action, entry in entries.items()}
            self.begun |= {action: earlier.get(action, 0) for action, _, _ in images}
            self.images |= {action: image for action, _, image in images}
            self.plan.enter(Stage.RECORD)
            journal.record(images, {step.action.id: step.action.path for step in steps})

    def _apply_one(self, step: Step, drift: Drift | None) -> StepOutcome:
        """Apply a step, if it drifted or drifts now, and look at what it left."""
        plan, action, on = self.plan, step.action, step.on
        if drift is None:
            # It was checked before the first change.
            if not self.changes or (drift := action.check(on)) is None:
                clause = action.requirement
                return StepOutcome(action.id, action.title, clause, False, "already so")
            self._record([step])
        plan.tell(action.title)
        plan.enter(Stage.APPLY, action)
        self.changes = True
        before = self.images[action.id]
        action.apply(on, before)
        _require_applied(step, action.check(on))
        after = action.left(on)
        if not action.purges and action.changed_since(after, before, None):
            message = (
                f"{action.title}: somebody changed it while apply ran. rollback will refuse to "
                "overwrite that, unless it is given --force"
            )
            plan.tell(Notice(message))
            after = None  # as of a run that was cut off: what is there is compared anew
        plan.enter(Stage.COMPLETE, action)
        plan.journal.complete(action.id, step.place, after)
        return StepOutcome(action.id, action.title, action.requirement, True, drift.summary)

    def give_up(self, error: BaseException) -> None:
        """Roll back whatever this run has begun, so that nothing is left half-applied."""
        if not self.begun:
            return
        plan = self.plan
        try:
            with plan.exclusive(f"roll back what failed in container {plan.journal.ctid}"):
                self._roll_back()
        except (errors.RollbackFailed, errors.ChangedSince) as failed:
            raise failed from error
        except RemediationError as failed:
            if self.changes:
                raise errors.RollbackFailed([("rolling back", failed)]) from error
            message = (
                f"Nothing was changed, but apply could not write that to the journal ({failed}). "
                f"Once the node answers, run: {errors.ROLLBACK}"
            )
            plan.tell(Notice(message))

    def _roll_back(self) -> None:
        if not (mine := self._mine()):
            return
        self.plan.tell("rolling back what was changed")
        try:
            roll_back_last_run(self.plan, mine)
        except errors.RollbackFailed:
            # Nobody could look into a container that did not start; it may run by now.
            with suppress(RemediationError):
                if 0 < len(left := self._mine()) < len(mine):
                    roll_back_last_run(self.plan, left)
                    return
            raise

    def _mine(self) -> set[str]:
        """Return the actions that this run has begun, as the journal says now."""
        return {
            entry.action
            for entry in self.plan.journal.entries()
            if len(entry.images) > self.begun.get(entry.action, len(entry.images))
        }


def _require_applied(step: Step, left: Drift | None) -> None:
    if left is not None:
        raise errors.VerifyFailed(
            f"{step.action.title} was applied on {step.on.machine}, and still: {left.summary}"
        )
