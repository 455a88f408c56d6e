"""Rolling a plan back, from top to bottom: :class:`_Rollback` lists the steps of one rollback.

An action that cannot be rolled back never stops the others: its error is collected, and raised at
the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.errors import Busy, FactError, RemediationError
from docker_lxc_gate.printable import Notice
from remediation.engine import errors, journal_entries
from remediation.engine.action import Consequence, Drift, Place, SideEffect, Step, StepOutcome
from remediation.engine.differing import differing
from remediation.engine.plan import Plan, Stage, another_machine, elsewhere, lost, once

if TYPE_CHECKING:
    from docker_lxc_gate.machines.transport import Transport
    from remediation.engine.journal_entries import JournalEntry

#: The file systems that a machine of some years may have; Docker's is often one of its own.
SYNC = (
    *("sh", "-c", 'for at; do test ! -e "$at" || sync -f "$at" || exit; done', "sync"),
    *("/", "/etc", "/usr", "/usr/local", "/opt", "/srv", "/var", "/var/lib", "/var/lib/docker"),
)
#: A disk that other programs write to as well (seconds).
_SYNC_TIMEOUT = 600.0


def roll_back(plan: Plan, *, force: bool = False) -> list[StepOutcome]:
    """Roll back, in reverse order, everything that the journal holds for a plan's steps.

    Of a whole plan, also every other action that the journal holds for its container. ``force``
    overwrites what somebody changed since, keeping a copy. Return what became of each action.

    Raises:
        NotClean: another container's plan was applied after this one, and still is; or, without
            force, another container has this one's number.
        LockedError: another run holds the node.
        ChangedSince: somebody changed what would be overwritten; nothing was rolled back.
        Busy: another program is working on it; nothing was rolled back, with or without force.
        RollbackFailed: every action that failed. The others are rolled back, and the journal keeps
            the entries of those that failed.
    """
    journal = plan.journal
    with plan.exclusive(f"roll back the plan from container {journal.ctid}"):
        lines = journal.lines()
        if newer := journal_entries.newer(lines, journal.ctid):
            raise errors.NotClean(
                f"the plan was applied to container {newer[-1]} after it was to {journal.ctid}, "
                f"and they share the node. Roll that back first: {errors.ROLLBACK} of container "
                f"{newer[-1]}. If it is gone for good, and what was changed for it may stay: "
                f"{errors.ACCEPT} of container {newer[-1]}"
            )
        actions = {step.action.id for step in plan.all_steps}
        if plan.whole:  # also actions that this version of the plan does not know
            actions |= {entry.action for entry in journal.entries()}
        return _Rollback(plan, force=force).run(actions)


def roll_back_last_run(plan: Plan, actions: set[str]) -> None:
    """Roll back what the last run did of these actions, by their ids; earlier runs still hold.

    Raises RemediationError as :func:`roll_back`; the caller holds the node.
    """
    _Rollback(plan, last=True).run(actions)


def rollback_side_effects(plan: Plan) -> list[SideEffect]:
    """Return each thing that a rollback would stop, hide or remove."""
    side_effects: list[SideEffect] = []
    entries = plan.journal.entries()
    for entry in reversed(entries):
        if (step := plan.step(entry.action)) is None:
            continue
        action, machine = step.action, step.on.machine
        if step in plan.deferred:
            if action.id in journal_entries.never_begun(entries):
                continue
            started = f"{machine} is started, to roll back: {action.title}"
            side_effects.append(SideEffect(f"start for {action.id}", started))
            continue
        try:
            side_effects += action.side_effects(step.on, _image(plan, step, entry.before))
        except Exception as error:  # noqa: BLE001 - the others can be rolled back
            why = f"what is stopped for it is unknown: {_as_ours(error, machine)}"
            side_effects.append(SideEffect(f"unknown of {action.id}", f"{action.title}: {why}"))
    return side_effects


@dataclass
class _Rollback:
    """One rollback of a plan.

    ``force`` overwrites what somebody changed since, keeping a copy; ``last`` is only of what the
    last run did. ``failures`` holds each error, by the id of its action, or by words if it is of
    none; ``remarks`` holds, by the action's id, what is back but not byte for byte; ``back`` the
    ids of those whose before-image is back, whether or not what follows succeeds.
    """

    plan: Plan
    force: bool = False
    last: bool = False
    failures: dict[str, Exception] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    back: set[str] = field(default_factory=set)

    def run(self, actions: set[str]) -> list[StepOutcome]:
        """Roll back what the journal holds for these actions; see :func:`roll_back`."""
        plan, held = self.plan, self.plan.journal.entries()
        entries = [entry for entry in held if entry.action in actions]
        if not entries:
            return []
        deferred = [entry for entry in entries if plan.step(entry.action) in plan.deferred]
        never_begun = journal_entries.never_begun(held)
        skipped = [entry for entry in deferred if entry.action in never_begun]
        deferred = [entry for entry in deferred if entry not in skipped]
        recorded = {entry.action for entry in entries}
        entries = [entry for entry in entries if entry not in skipped]
        changed = self._changed_since([entry for entry in entries if entry not in deferred])
        with ExitStack() as stack:
            if deferred and self._start_container(stack, [entry.action for entry in deferred]):
                self._require_same_machine(entries)
                changed += self._changed_since(deferred)
            self._keep_copies(changed)
            entries = [entry for entry in entries if entry.action not in self.failures]
            if entries:  # else nothing is begun, and so nothing is to be ended
                plan.enter(Stage.BEGIN)
                plan.journal.note("rolling_back")
            # The plan's order, in which an action that it does not know is first: the journal's is
            # another one if an action drifted later than its successors.
            order = {step.action.id: at for at, step in enumerate(plan.all_steps)}
            entries.sort(key=lambda entry: order.get(entry.action, -1), reverse=True)
            outcomes, restored = self._restore(entries)
            done = self._follow_and_verify(restored)
            self._close([*done, *(entry.action for entry in skipped)])
            if self.failures:
                failed = [(plan.title(what), error) for what, error in self.failures.items()]
                left = recorded - self.back
                after = [plan.title(what) for what in self.failures if what not in left]
                raise errors.RollbackFailed(failed, after)
            remarks = self.remarks
            return [replace(each, reason=remarks.get(each.id, each.reason)) for each in outcomes]

    # -- 1. what somebody changed since apply

    def _changed_since(self, entries: Sequence[JournalEntry]) -> list[tuple[Step, Drift]]:
        """Return what a rollback would overwrite.

        What cannot be looked at is a failure: it is not overwritten unseen. Raises ChangedSince if
        there is something, and it is not forced, and Busy if another program is working on it: half
        rolled back, it may not even start.
        """
        changed: list[tuple[Step, Drift]] = []
        known = [(entry, step) for entry in entries if (step := self.plan.step(entry.action))]
        known = [(entry, step) for entry, step in known if not elsewhere(entry, step)]
        self._require_same_machine(entries)
        for entry, step in known:
            try:
                images = [
                    (_image(self.plan, step, image.before), _left(self.plan, step, image.after))
                    for image in (entry.images[-1:] if self.last else entry.images)
                ]
            except FactError:  # restoring it will fail with the same error, and stops no other
                continue
            try:
                drift = _changed_since(step, images)
            except Busy:
                raise
            except Exception as error:  # noqa: BLE001 - one that cannot be read stops no other
                self.failures[entry.action] = _as_ours(error, step.on.machine)
                continue
            if drift is not None:
                changed.append((step, drift))
        if changed and not self.force:
            raise errors.ChangedSince({step.action.title: drift for step, drift in changed})
        return changed

    def _require_same_machine(self, entries: Sequence[JournalEntry]) -> None:
        """Raise NotClean if another container has the number now, unless that is forced."""
        for entry in entries:
            step, machine = self.plan.step(entry.action), ""
            if self.force or self.last or step is None or step.machine is None:
                continue
            with suppress(Exception):  # one that does not tell may be the same one
                machine = step.machine(step.on)
            if cause := another_machine(self.plan.journal, entry, step, machine):
                raise errors.NotClean(cause)

    def _start_container(self, stack: ExitStack, actions: Sequence[str]) -> bool:
        """Start the container until the stack ends, or note that these cannot be rolled back."""
        self.plan.enter(Stage.START)
        try:
            stack.enter_context(self.plan.start_container())
        except Exception as error:  # noqa: BLE001 - the others can be rolled back without it
            self.failures |= dict.fromkeys(actions, _as_ours(error, "its start"))
            return False
        return True

    def _keep_copies(self, changed: Sequence[tuple[Step, Drift]]) -> None:
        for step, drift in changed:
            self.plan.enter(Stage.KEEP, step.action)
            kept = self.plan.journal.keep(step.action.id, drift.is_)
            message = f"{step.action.title}: what somebody had changed is kept in {kept}"
            self.plan.tell(Notice(message))

    # -- 2. the before-images

    def _restore(
        self, entries: Sequence[JournalEntry]
    ) -> tuple[list[StepOutcome], list[tuple[Step, Any]]]:
        """Bring back the before-images, in this order.

        Return the outcomes, and each step that was restored with its before-image.
        """
        outcomes: list[StepOutcome] = []
        restored: list[tuple[Step, Any]] = []
        steps = [self.plan.step(entry.action) for entry in entries]
        for entry, step in zip(entries, steps, strict=True):
            if step is None:
                self.failures[entry.action] = LookupError(lost(entry, self.plan.journal.ctid))
            elif cause := elsewhere(entry, step):
                self.failures[entry.action] = LookupError(cause)
            else:
                with self._noting(entry.action, step.on.machine):
                    image = entry.images[-1] if self.last else entry.images[0]
                    before = _image(self.plan, step, image.before)
                    try:
                        outcomes.append(self._restore_one(step, before))
                    except Exception:
                        with suppress(Exception):  # else what is there is not known
                            if step.action.restored(step.on, before):
                                self.back.add(entry.action)
                        raise
                    restored.append((step, before))
                    self.back.add(entry.action)
        return outcomes, restored

    def _restore_one(self, step: Step, before: Any) -> StepOutcome:
        """Bring back one before-image."""
        action, on = step.action, step.on
        try:
            changed = action.left(on) != before
        except Exception:  # noqa: BLE001 - half applied, or an odd answer: the rollback mends it
            changed = True
        if changed:
            self.plan.tell(f"rolling back: {action.title}")
        self.plan.enter(Stage.RESTORE, action)
        # Also if nothing differs: a run that was cut off leaves traces.
        left = action.rollback(on, before)
        if left:  # Report it now: if another action fails, outcomes are never printed.
            self.plan.tell(Notice(f"{action.title}: {left}"))
        reason = left or ("as before" if changed else "was as before already")
        return StepOutcome(action.id, action.title, action.requirement, changed, reason)

    # -- 3. what follows, and whether everything is back

    def _follow_and_verify(self, restored: Sequence[tuple[Step, Any]]) -> list[str]:
        """Run the consequences, sync the disks, and verify each action.

        Return the ids of the actions of which nothing is left to do.
        """
        owed = {step.action.id: step.then_back or step.then for step, _ in restored}
        images = {step.action.id: before for step, before in restored}
        on_node = [pair for pair in restored if pair[0].place is Place.NODE]
        inside = [pair for pair in restored if pair[0].place is Place.CONTAINER]
        back: list[str] = []
        failed, unsynced = set[Consequence](), set(Place)  # until it is known
        with self._noting("stopping it again"), ExitStack() as stack:
            with self._noting("whether it runs"):
                if inside and self.plan.stopped_by_rollback():
                    self._start_container(stack, [step.action.id for step, _ in inside])
            failed = self._follow(once(owed.values()), images)
            unsynced = self._sync({step.place: step.on for step, _ in restored})
            back += self._are_back(inside)
        back += self._are_back(on_node)
        return [
            step.action.id
            for step, _ in restored
            if step.action.id in back
            and step.place not in unsynced
            and not failed & set(owed[step.action.id])
        ]

    def _follow(
        self, consequences: Sequence[Consequence], images: Mapping[str, Any]
    ) -> set[Consequence]:
        """Run the consequences; return those that failed, which are owed until they succeed."""
        failed = set(consequences)
        for consequence in consequences:
            with self._noting(consequence.title):
                self.plan.tell(consequence.title)
                self.plan.enter(Stage.CONSEQUENCE, consequence)
                consequence.run(images)
                failed.remove(consequence)
        return failed

    def _sync(self, machines: Mapping[Place, Transport]) -> set[Place]:
        """Write what was restored to the disks; return the machines where that failed.

        After a power cut, nothing may be lost that the journal says is rolled back.
        """
        failed = set()
        for place, on in machines.items():
            try:
                on.run(SYNC, timeout=_SYNC_TIMEOUT).require()
            except RemediationError as error:
                self.failures[f"{on.machine}: what was rolled back, to its disk"] = error
                failed.add(place)
        return failed

    def _are_back(self, restored: Sequence[tuple[Step, Any]]) -> list[str]:
        """Return the ids of the actions whose state is the former one; the others are failures."""
        back = []
        for step, before in restored:
            with self._noting(step.action.id, step.on.machine):
                if not step.action.restored(step.on, before):
                    now = step.action.capture(step.on)
                    self.back.discard(step.action.id)
                    words = "; ".join(differing(before, now))
                    what = f" ({words})" if words else ""
                    raise errors.VerifyFailed(f"after the rollback it is not as before{what}")
                if remark := step.action.remark(step.on, before):
                    self.plan.tell(Notice(f"{step.action.title}: {remark}"))
                    self.remarks[step.action.id] = remark
                back.append(step.action.id)
        return back

    def _close(self, done: Sequence[str]) -> None:
        """Tell the journal which actions are rolled back, and whether the run has ended with it."""
        journal = self.plan.journal
        try:
            self.plan.enter(Stage.CLOSE)
            cut_off = {entry.action for entry in journal.entries() if not entry.complete}
            ended = not self.failures and cut_off <= set(done)
            journal.rolled_back(done, last=self.last, ended=ended)
        except RemediationError as error:
            if not self.failures:
                raise
            self.failures["what was rolled back, to the journal"] = error

    @contextmanager
    def _noting(self, what: str, where: str = "") -> Iterator[None]:
        """Turn any error into a failure, by an action's id or in words, and go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one failure never stops the others
            self.failures[what] = _as_ours(error, where or what)


def _changed_since(step: Step, images: Sequence[tuple[Any, Any]]) -> Drift | None:
    """Return what somebody changed after one of these runs; of several changes, the last one.

    ``images`` holds the before-image of each run, and what it left. The state after a run is what
    the next run found; after the last one it is the current state.
    """
    if step.action.purges:  # whatever a later run found: its package is the first one's
        images = images[:1]
    states = [*(before for before, _ in images[1:]), step.action.current(step.on)]
    drifts = [
        step.action.changed_since(now, before, after)
        for (before, after), now in zip(images, states, strict=True)
        if now is not None
    ]
    return next(filter(None, reversed(drifts)), None)


def _image(plan: Plan, step: Step, stored: Any) -> Any:
    """Return a stored image in the type of the step's action; None stays None."""
    return None if stored is None else plan.journal.image(stored, step.action.before)


def _left(plan: Plan, step: Step, stored: Any) -> Any:
    """Return what a run left, or None if it cannot be read: a rollback does not need it."""
    try:
        return _image(plan, step, stored)
    except FactError:
        return None


def _as_ours(error: Exception, where: str) -> RemediationError:
    """Return an error as one of ours: also a machine's answer that nobody foresaw is one.

    ``where`` is the machine, or what was being done.
    """
    if isinstance(error, RemediationError):
        return error
    cause = f"{type(error).__name__}: {error}"
    return FactError(f"what came from {where} cannot be read ({cause:.300})")
