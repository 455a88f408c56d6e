"""Rolling back: each undo on its own, what follows them once, and a look at what came of it.

Part of :mod:`remediation.engine.plan`, which says what is rolled back, and when.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from remediation.engine.action import Consequence, Outcome, Place
from remediation.engine.differing import differing
from targets.errors import FactError, RemediationError, RollbackFailed, VerifyFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from remediation.engine.action import Step
    from remediation.engine.journal_entries import Entry
    from remediation.engine.plan import Plan
    from targets.transport import Transport

#: For what can never be rolled back: without it no plan is applied on the node any more.
ACCEPT = "python -m remediation journal accept"
#: The file systems that a machine of some years may have; Docker's is often one of its own.
SYNC = (
    *("sh", "-c", 'for at; do test ! -e "$at" || sync -f "$at" || exit; done', "sync"),
    *("/", "/etc", "/usr", "/usr/local", "/opt", "/srv", "/var", "/var/lib", "/var/lib/docker"),
)
#: A disk that others write to as well (seconds).
_SYNC = 600.0


@dataclass
class Undoing:
    """One rolling back of a plan.

    ``failures`` are what failed of it, by an action's id, or in words what else it was;
    ``remarks`` what is back, and not to the byte, by the action's id.
    """

    plan: Plan
    failures: dict[str, Exception] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def wakes(self, stack: ExitStack, actions: Iterable[str]) -> bool:
        """Start what is asleep, until the stack ends; or note that these cannot be rolled back."""
        self.plan.enter("wake")
        try:
            stack.enter_context(self.plan.awake())
        except Exception as error:  # noqa: BLE001 - the others can be rolled back without it
            self.failures |= dict.fromkeys(actions, unread(error, "its start"))
            return False
        return True

    def undo(self, entries: Sequence[Entry], *, last: bool) -> list[Outcome]:
        """Undo these, in this order; one that fails never stops the others.

        Args:
            entries: what the journal holds.
            last: only what the last run did.

        Raises:
            RollbackFailed: every undo that failed; the others were done, and the journal stays.
        """
        plan, failures = self.plan, self.failures
        outcomes: list[Outcome] = []
        undone: list[tuple[Step, Any]] = []
        for entry in entries:
            step = plan.step(entry)
            if step is None:
                machine = plan.journal.name(entry.place)
                failures[entry.action] = LookupError(
                    f"{machine} or what it concerns is not there, or not known to the plan; "
                    f"if it is gone for good: {ACCEPT}"
                )
                continue
            if said := elsewhere(entry, step):
                failures[entry.action] = LookupError(said)
                continue
            try:
                image = entry.images[-1] if last else entry.images[0]
                before = plan.image(step, image.before)
                outcomes.append(self._undo_one(step, before))
                undone.append((step, before))
            except Exception as error:  # noqa: BLE001 - one failing undo never stops the others
                failures[entry.action] = unread(error, step.on.machine)
        done = self._settled(undone)
        try:
            plan.enter("close")
            left = {entry.action for entry in plan.journal.entries()} - set(done)
            interrupted = {e.action for e in plan.journal.entries() if not e.complete}
            plan.journal.rolled_back(done, last=last, ended=not failures and not left & interrupted)
        except RemediationError as error:
            if not failures:
                raise
            failures["what was rolled back, to the journal"] = error
        if failures:
            raise RollbackFailed([(plan.title(what), error) for what, error in failures.items()])
        return [replace(each, reason=self.remarks.get(each.id, each.reason)) for each in outcomes]

    def _settled(self, undone: Sequence[tuple[Step, Any]]) -> list[str]:
        """Run what follows the undoing, and return the actions whose state is the former one."""
        failures = self.failures
        owed = {step.action.id: step.then_back or step.then for step, _ in undone}
        inside = [step.action.id for step, _ in undone if step.place is Place.CONTAINER]
        found: dict[str, bool] = {}
        failed, unsynced = set[Consequence](), set(Place)  # until it is known
        with _noting(failures, "stopping it again"), ExitStack() as stack:
            with _noting(failures, "whether it runs"):
                if inside and self.plan.stopped():
                    self.wakes(stack, inside)
            images = {step.action.id: before for step, before in undone}
            failed = self._follow(once(owed.values()), images)
            unsynced = _synced({step.place: step.on for step, _ in undone}, failures)
            for step, before in undone:
                if step.place is Place.CONTAINER:
                    found[step.action.id] = self._is_back(step, before)
        for step, before in undone:
            if step.place is Place.NODE:
                found[step.action.id] = self._is_back(step, before)
        return [
            step.action.id
            for step, _ in undone
            if found.get(step.action.id)
            and step.place not in unsynced
            and not failed & set(owed[step.action.id])
        ]

    def _follow(
        self, consequences: Sequence[Consequence], images: Mapping[str, Any]
    ) -> set[Consequence]:
        """Run what follows; return what failed, which is owed until it succeeds."""
        failed = set()
        for consequence in consequences:
            try:
                self.plan.tell(consequence.title)
                self.plan.enter("follow", consequence)
                consequence.back(images) if consequence.back else consequence.run()
            except Exception as error:  # noqa: BLE001 - as above
                self.failures[consequence.title] = unread(error, consequence.title)
                failed.add(consequence)
        return failed

    def _is_back(self, step: Step, before: Any) -> bool:
        """Whether an action's state is the former one; if not, add it to the failures."""
        try:
            _require_back(step, before)
            if remark := step.action.remark(step.on, before):
                self.plan.tell(f"{step.action.title}: {remark}")
                self.remarks[step.action.id] = remark
        except Exception as error:  # noqa: BLE001 - as above
            self.failures[step.action.id] = unread(error, step.on.machine)
            return False
        return True

    def _undo_one(self, step: Step, before: Any) -> Outcome:
        action = step.action
        try:
            changed = action.capture(step.on) != before
        except Exception:  # noqa: BLE001 - half done, or told by rubbish: the undoing mends it
            changed = True
        if changed:
            self.plan.tell(f"rolling back: {action.title}")
        self.plan.enter("undo", action)
        # Also where all looks well: a cut-off run leaves traces.
        left = action.rollback(step.on, before)
        if left:  # at once: of an outcome nobody hears where another undo fails
            self.plan.tell(f"{action.title}: {left}")
        reason = left or ("as before" if changed else "was as before already")
        return Outcome(action.id, action.title, action.requirement, changed, reason)


def unread(error: Exception, where: str) -> RemediationError:
    """Return what failed as an error of ours: a machine's answer that nobody foresaw is one, too.

    Args:
        error: what was raised.
        where: which machine, or what was being done.
    """
    if isinstance(error, RemediationError):
        return error
    said = f"{type(error).__name__}: {error}"
    return FactError(f"what came from {where} cannot be read ({said:.300})")


def once(groups: Iterable[tuple[Consequence, ...]]) -> list[Consequence]:
    """Return every consequence once, in the order in which they come up."""
    return list(dict.fromkeys(consequence for group in groups for consequence in group))


def elsewhere(entry: Entry | None, step: Step) -> str:
    """Return what to do if an entry is about another file than the step; empty if it is not."""
    path = getattr(step.action, "path", "")
    if entry is None or not entry.path or entry.path == path:
        return ""
    return (
        f"it was done to {entry.path}, and here it is {path}: name the same repository and runtime "
        "as then"
    )


@contextmanager
def _noting(failures: dict[str, Exception], what: str) -> Iterator[None]:
    """Add an error to the failures, and go on: what follows may not be lost of it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - as above
        failures[what] = unread(error, what)


def _synced(machines: dict[Place, Transport], failures: dict[str, Exception]) -> set[Place]:
    """Bring what was rolled back to the disks; return the machines where that failed.

    What the journal then says is done a power cut does not bring back.
    """
    failed = set()
    for place, on in machines.items():
        try:
            on.run(SYNC, timeout=_SYNC).require()
        except RemediationError as error:
            failures[f"{on.machine}: what was rolled back, to its disk"] = error
            failed.add(place)
    return failed


def _require_back(step: Step, before: Any) -> None:
    """Raise VerifyFailed, with what differs, unless an action's state is the former one."""
    if not step.action.restored(step.on, before):
        path = getattr(step.action, "path", "")
        words, drifts = differing(before, step.action.capture(step.on), path)
        what = f" ({'; '.join(words)})" if words else ""
        raise VerifyFailed(f"after the rollback it is not as before{what}", drifts)
