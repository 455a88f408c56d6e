"""The mechanics: ordered actions, each checked, journalled, applied and taken back.

Nothing here knows of Docker or AppArmor. Two laws hold for every action and are tested for
every action: after ``apply``, ``check`` is ``None``; after ``rollback(before)``, ``capture``
equals ``before``, wherever ``apply`` or an earlier ``rollback`` was cut off.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from remediation.errors import (
    FactError,
    Meddled,
    NotClean,
    RemediationError,
    RollbackFailed,
    UsageError,
    VerifyFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from remediation.journal import Entry, Journal
    from remediation.transport import Transport

Before = TypeVar("Before")
_ROLLBACK = "python -m remediation rollback, with the same --target"
#: For what can never be taken back: without it no plan is applied on the node any more.
_ACCEPT = "python -m remediation journal accept"
#: The file systems that a machine of some years may have; Docker's is often one of its own.
SYNC = (
    *("sh", "-c", 'for at; do test ! -e "$at" || sync -f "$at" || exit; done', "sync"),
    *("/", "/etc", "/usr", "/usr/local", "/opt", "/srv", "/var", "/var/lib", "/var/lib/docker"),
)
#: A disk that others write to as well (seconds).
_SYNC = 600.0


@dataclass(frozen=True)
class Drift:
    """The difference between desired and actual.

    ``is_`` and ``should`` are texts for a unified diff; where there is no text to compare,
    ``summary`` says it all.
    """

    summary: str
    is_: bytes = b""
    should: bytes = b""


class Action(Protocol[Before]):
    """One desired state that can be captured, checked, applied and rolled back."""

    @property
    def name(self) -> str:
        """What a reader calls it; unique in a plan, and the key of its journal entry."""

    @property
    def requirement(self) -> str:
        """The clause of the plan it implements, by id."""

    #: The type of its before-image, by which a journal entry is read back.
    before: ClassVar[Any]

    def capture(self, on: Transport) -> Before:
        """Return all that ``rollback`` needs, and nothing that changes by itself."""

    def check(self, on: Transport) -> Drift | None:
        """Return the drift, or None; changes nothing."""

    def require_reversible(self, on: Transport) -> None:
        """Raise FactError if what is there now could not be brought back; before any change."""

    def apply(self, on: Transport) -> None:
        """Bring about the desired state."""

    def rollback(self, on: Transport, before: Before) -> None:
        """Bring back the captured state, from any state in which a run may have ended."""

    def meddled(self, now: Before, before: Before, after: Before | None) -> Drift | None:
        """Return what somebody changed since ``apply``, which ``rollback`` would overwrite.

        Args:
            now: what was captured afterwards.
            before: the before-image.
            after: what ``apply`` left, or None if it did not come to its end.
        """

    def restored(self, on: Transport, before: Before) -> bool:
        """Whether all that ``rollback`` brings back is as it was."""

    def price(self, on: Transport, before: Before | None) -> list[str]:
        """Return what is stopped, hidden or removed on the way, a sentence each.

        Args:
            on: where; nothing is changed.
            before: the before-image that ``rollback`` is about to bring back, or None where
                ``apply`` is asked about.
        """


class Simple:
    """What most actions have to say of meddling and of the price, nothing, and of being back."""

    def require_reversible(self, on: Transport) -> None:
        """See :class:`Action`."""

    def capture(self, on: Transport) -> Any:
        """See :class:`Action`."""
        raise NotImplementedError

    def meddled(self, now: Any, before: Any, after: Any) -> Drift | None:  # noqa: ARG002
        """See :class:`Action`."""
        return None

    def restored(self, on: Transport, before: Any) -> bool:
        """See :class:`Action`."""
        return bool(self.capture(on) == before)

    def price(self, on: Transport, before: Any) -> list[str]:  # noqa: ARG002
        """See :class:`Action`."""
        return []


@dataclass(frozen=True)
class Consequence:
    """A reload or restart: it runs once, at the end, if an action that needs it changed.

    Args:
        name: what a reader calls it.
        run: does it.
        back: does it on the way back, if that is something else, given the images of all that
            was undone, by their actions' names.
    """

    name: str
    run: Callable[[], None] = field(default=lambda: None, compare=False)
    back: Callable[[Mapping[str, Any]], None] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Step:
    """An action, the machine it works on, and what follows a change and its undoing."""

    action: Action[Any]
    on: Transport
    then: tuple[Consequence, ...] = ()
    then_back: tuple[Consequence, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one action: ``changed`` or not, and why."""

    name: str
    requirement: str
    changed: bool
    reason: str


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

    def _enter(self, stage: str, action: str) -> None:
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
        begun: dict[str, int] = {}
        try:
            with self.exclusive(f"apply the plan to container {self.journal.ctid}"):
                return self._forward(begun)
        except BaseException as error:  # Ctrl-C and our own mistakes, too
            # Outside: the lock has waited for the last command, which may be at work without us.
            self._give_up(begun, error)
            raise

    def _give_up(self, begun: dict[str, int], error: BaseException) -> None:
        """Take back what this run began; nothing half-applied is left.

        Args:
            begun: its actions, with how many images each had in the journal before: where the
                run's own did not come to the disk, the newest there is an earlier run's.
            error: what it failed of.
        """
        if not begun:
            return
        try:
            with self.exclusive(f"take back what failed in container {self.journal.ctid}"):
                self.journal.forget()
                mine = {
                    entry.action
                    for entry in self.journal.entries()
                    if len(entry.images) > begun.get(entry.action, len(entry.images))
                }
                if mine:
                    self.tell("taking back what was changed")
                    self._back(mine, force=False, last=True)
        except (RollbackFailed, Meddled) as failed:
            raise failed from error
        except RemediationError as failed:
            raise RollbackFailed([("taking back", failed)]) from error

    def _forward(self, begun: dict[str, int]) -> list[Outcome]:
        self.journal.forget()
        if (ctid := self.journal.interrupted()) is not None:
            raise NotClean(
                f"{self.journal.path} holds the before-images of a run for container {ctid} that "
                f"did not end. Take them back first: {_ROLLBACK}"
                + ("" if ctid == self.journal.ctid else f", but container {ctid}")
            )
        found = self.drifts()
        # All before-images first: an action may change what another one is about to look at.
        self._record([step for step, drift in found if drift is not None], begun)
        outcomes: list[Outcome] = []
        changed: list[Step] = []
        for step, drift in found:
            outcomes.append(self._apply_one(step, drift, begun))
            if outcomes[-1].changed:
                changed.append(step)
        for consequence in _once(step.then for step in changed):
            self.tell(consequence.name)
            self._enter("follow", consequence.name)
            consequence.run()
            outcomes.append(Outcome(consequence.name, "", True, "something it depends on changed"))
        for step in changed:
            _verify(step)
        if changed:
            self._enter("finish", "")
            self.journal.finish()
        return outcomes

    def _record(self, steps: Sequence[Step], begun: dict[str, int]) -> None:
        open_ = {entry.action: entry for entry in self.journal.entries()}
        for step in steps:
            if elsewhere := _elsewhere(open_.get(step.action.name), step):
                raise NotClean(f"{step.action.name}: {elsewhere}, and take that back first")
            step.action.require_reversible(step.on)
        images = [(s.action.name, s.on.machine, s.action.capture(s.on)) for s in steps]
        if images:
            earlier = {entry.action: len(entry.images) for entry in self.journal.entries()}
            begun |= {name: earlier.get(name, 0) for name, _, _ in images}
            self._enter("record", "")
            paths = {s.action.name: getattr(s.action, "path", "") for s in steps}
            self.journal.record(images, paths)

    def _apply_one(self, step: Step, drift: Drift | None, begun: dict[str, int]) -> Outcome:
        action = step.action
        if drift is None:  # before anything was changed; and now?
            drift = action.check(step.on)
            if drift is None:
                return Outcome(action.name, action.requirement, False, "already so")
            self._record([step], begun)
        self.tell(action.name)
        self._enter("apply", action.name)
        action.apply(step.on)
        _verify(step)
        after = action.capture(step.on)
        self._enter("complete", action.name)
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
            RollbackFailed: every undo that failed; the others were done, and the journal stays.
        """
        with self.exclusive(f"take back the plan from container {self.journal.ctid}"):
            self.journal.forget()
            if newer := self.journal.newer():
                raise NotClean(
                    f"the plan was applied to container {newer[-1]} after it was to "
                    f"{self.journal.ctid}, and they share the node. Take that back first: "
                    f"{_ROLLBACK} of container {newer[-1]}. If it is gone for good, and what was "
                    f"changed for it may stay: {_ACCEPT} of container {newer[-1]}"
                )
            names = {step.action.name for step in (*self.steps, *self.asleep)}
            if self.whole:  # also what this plan, today, knows nothing of
                names |= {entry.action for entry in self.journal.entries()}
            return self._back(names, force=force)

    def rollback_price(self) -> list[str]:
        """Return what a rollback would stop, hide or remove, a sentence each."""
        sentences: list[str] = []
        for entry in reversed(self.journal.entries()):
            step = self._step(entry)
            if step in self.asleep:
                sentences.append(f"{entry.machine} is started, to take back: {entry.action}")
            elif step is not None:
                try:
                    before = self.journal.image(entry.before, step.action.before)
                    sentences += step.action.price(step.on, before)
                except RemediationError as error:  # the others can be taken back all the same
                    sentences.append(f"{entry.action}: what is stopped for it is unknown: {error}")
        return sentences

    def _step(self, entry: Entry) -> Step | None:
        known = (*self.steps, *self.asleep)
        return next((step for step in known if step.action.name == entry.action), None)

    def _back(self, names: set[str], *, force: bool, last: bool = False) -> list[Outcome]:
        """Undo what the journal holds for these actions, or only what the last run did."""
        entries = [entry for entry in self.journal.entries() if entry.action in names]
        if not entries:
            return []
        asleep = [entry for entry in entries if self._step(entry) in self.asleep]
        others = [entry for entry in entries if entry not in asleep]
        meddled = self._meddled(others, force, last)
        failures: dict[str, Exception] = {}
        with ExitStack() as stack:
            if asleep and self._wakes(stack, failures, [entry.action for entry in asleep]):
                meddled |= self._meddled(asleep, force, last)
            elif asleep:
                entries = others
            for name, content in meddled.items():
                self._enter("keep", name)
                kept = self.journal.keep(name, content)
                self.tell(f"{name}: what somebody had changed is kept in {kept}")
            self._enter("roll back", "")
            self.journal.roll_back()
            ordered = sorted(entries, key=self._place, reverse=True)
            return self._undo(ordered, failures, last=last)

    def _wakes(
        self, stack: ExitStack, failures: dict[str, Exception], names: Iterable[str]
    ) -> bool:
        """Start what is asleep, until the stack ends; or note that these cannot be taken back."""
        self._enter("wake", "")
        try:
            stack.enter_context(self.awake())
        except RemediationError as error:  # the others can be taken back without it
            failures |= dict.fromkeys(names, error)
            return False
        return True

    def _place(self, entry: Entry) -> int:
        """Return where in the plan's order an action stands.

        That is not the journal's order where an action drifted only later; what the plan does
        not know comes first.
        """
        order = [step.action.name for step in (*self.steps, *self.asleep)]
        return order.index(entry.action) if entry.action in order else -1

    def _meddled(self, entries: Sequence[Entry], force: bool, last: bool) -> dict[str, bytes]:
        """Return what would be lost; raises Meddled unless that is wished."""
        found: dict[str, Drift] = {}
        for entry in entries:
            if (step := self._step(entry)) is None or _elsewhere(entry, step):
                continue
            try:
                images = [
                    (self._image(step, image.before), self._left(step, image.after))
                    for image in (entry.images[-1:] if last else entry.images)
                ]
            except FactError:  # its undoing will say so, and stops no other one
                continue
            # What each later run found, and what is there now, against what was left before it.
            later = [before for before, _ in images[1:]]
            for (before, after), now in zip(images, [*later, _captured(step)], strict=True):
                drift = None if now is None else step.action.meddled(now, before, after)
                if drift is not None:
                    found[entry.action] = drift
        if found and not force:
            raise Meddled(found)
        return {name: drift.is_ for name, drift in found.items()}

    def _image(self, step: Step, stored: Any) -> Any:
        return None if stored is None else self.journal.image(stored, step.action.before)

    def _left(self, step: Step, stored: Any) -> Any:
        """Return what a run left; what cannot be read of it is not needed to take it back."""
        try:
            return self._image(step, stored)
        except FactError:
            return None

    def _undo(
        self, entries: Sequence[Entry], failures: dict[str, Exception], *, last: bool
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        undone: list[tuple[Step, Any]] = []
        for entry in entries:
            step = self._step(entry)
            if step is None:
                failures[entry.action] = LookupError(
                    f"{entry.machine} or what it concerns is not there, or not known to the plan; "
                    f"if it is gone for good: {_ACCEPT}"
                )
                continue
            if elsewhere := _elsewhere(entry, step):
                failures[entry.action] = LookupError(elsewhere)
                continue
            try:
                image = entry.images[-1] if last else entry.images[0]
                before = self._image(step, image.before)
                outcomes.append(self._undo_one(step, before))
                undone.append((step, before))
            except Exception as error:  # noqa: BLE001 - one failing undo never stops the others
                failures[entry.action] = error
        done = self._settled(undone, failures)
        self._enter("close", "")
        left = {entry.action for entry in self.journal.entries()} - set(done)
        interrupted = {e.action for e in self.journal.entries() if not e.complete}
        self.journal.undone(done, last=last, ended=not failures and not left & interrupted)
        if failures:
            raise RollbackFailed(list(failures.items()))
        return outcomes

    def _settled(
        self, undone: Sequence[tuple[Step, Any]], failures: dict[str, Exception]
    ) -> list[str]:
        """Run what follows the undoing, and return the actions whose state is the former one."""
        owed = {step.action.name: step.then_back or step.then for step, _ in undone}
        node = self.journal.machine
        inside = [step.action.name for step, _ in undone if step.on.machine != node]
        found: dict[str, bool] = {}
        with _noting(failures, "stopping it again"), ExitStack() as stack:
            with _noting(failures, "whether it runs"):
                if inside and self.stopped():
                    self._wakes(stack, failures, inside)
            images = {step.action.name: before for step, before in undone}
            failed = self._follow_back(_once(owed.values()), images, failures)
            unsynced = _synced({step.on.machine: step.on for step, _ in undone}, failures)
            for step, before in undone:
                if step.on.machine != node:
                    found[step.action.name] = _is_back(step, before, failures)
        for step, before in undone:
            if step.on.machine == node:
                found[step.action.name] = _is_back(step, before, failures)
        return [
            step.action.name
            for step, _ in undone
            if found.get(step.action.name)
            and step.on.machine not in unsynced
            and not failed & set(owed[step.action.name])
        ]

    def _follow_back(
        self,
        consequences: Sequence[Consequence],
        images: Mapping[str, Any],
        failures: dict[str, Exception],
    ) -> set[Consequence]:
        """Run what follows; return what failed, which is owed until it succeeds."""
        failed = set()
        for consequence in consequences:
            try:
                self.tell(consequence.name)
                self._enter("follow", consequence.name)
                consequence.back(images) if consequence.back else consequence.run()
            except Exception as error:  # noqa: BLE001 - as above
                failures[consequence.name] = error
                failed.add(consequence)
        return failed

    def _undo_one(self, step: Step, before: Any) -> Outcome:
        action = step.action
        try:
            changed = action.capture(step.on) != before
        except RemediationError:  # half done, and no state that has a name: the undoing mends it
            changed = True
        if changed:
            self.tell(f"taking back: {action.name}")
        self._enter("undo", action.name)
        action.rollback(step.on, before)  # also where all looks well: a cut-off run leaves traces
        reason = "as before" if changed else "was as before already"
        return Outcome(action.name, action.requirement, changed, reason)


def require_known(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for a clause, or the beginning of one, that is none of the known."""
    for each in asked:
        if not any(_within(clause, [each]) for clause in known):
            raise UsageError(f"no action for {each!r}; there are: {', '.join(sorted(known))}")


def _within(requirement: str, asked: Sequence[str]) -> bool:
    return any(requirement == each or requirement.startswith(f"{each}.") for each in asked)


def _once(groups: Iterable[tuple[Consequence, ...]]) -> list[Consequence]:
    """Return every consequence once, in the order in which they come up."""
    return list(dict.fromkeys(consequence for group in groups for consequence in group))


def _elsewhere(entry: Entry | None, step: Step) -> str:
    """Return what to do if an entry is about another file than the step; empty if it is not."""
    path = getattr(step.action, "path", "")
    if entry is None or not entry.path or entry.path == path:
        return ""
    return (
        f"it was done to {entry.path}, and here it is {path}: name the same repository and runtime "
        "as then"
    )


def _verify(step: Step) -> None:
    left = step.action.check(step.on)
    if left is not None:
        raise VerifyFailed(
            f"{step.action.name} was applied on {step.on.machine}, and still: {left.summary}"
        )


def _captured(step: Step) -> Any:
    """Return what is there now, or None where a run was cut off in a state without a name."""
    try:
        return step.action.capture(step.on)
    except RemediationError:
        return None


@contextmanager
def _noting(failures: dict[str, Exception], what: str) -> Iterator[None]:
    """Add an error to the failures, and go on: what follows may not be lost of it."""
    try:
        yield
    except RemediationError as error:
        failures[what] = error


def _synced(machines: dict[str, Transport], failures: dict[str, Exception]) -> set[str]:
    """Bring what was taken back to the disks; return the machines where that failed.

    What the journal then says is done a power cut does not bring back.
    """
    failed = set()
    for machine, on in machines.items():
        try:
            on.run(SYNC, timeout=_SYNC).require()
        except RemediationError as error:
            failures[f"{machine}: what was taken back, to its disk"] = error
            failed.add(machine)
    return failed


def _is_back(step: Step, before: Any, failures: dict[str, Exception]) -> bool:
    """Whether an action's state is the former one; if not, add it to the failures."""
    try:
        if not step.action.restored(step.on, before):
            what = _differing(before, step.action.capture(step.on))
            raise VerifyFailed(f"after the rollback it is not as before{what}")
    except RemediationError as error:
        failures[step.action.name] = error
        return False
    return True


def _differing(before: Any, now: Any) -> str:
    """Return in which parts two states differ, as far as a reader has a use for it."""
    if not is_dataclass(before) or type(before) is not type(now):
        return ""
    parts = []
    for each in fields(before):
        was, is_ = getattr(before, each.name), getattr(now, each.name)
        if not each.compare or was == is_:
            continue
        if each.name == "mode":
            was, is_ = f"{was:o}", f"{is_:o}"
        said = isinstance(was, str | tuple | int)
        parts.append(f"{each.name} was {was}, is {is_}" if said else each.name)
    return f" ({'; '.join(parts)})" if parts else ""
