"""The mechanics: ordered actions, each checked, journalled, applied and taken back.

Nothing here knows of Docker or AppArmor. Two laws hold for every action and are tested for
every action: after ``apply``, ``check`` is ``None``; after ``rollback(before)``, ``capture``
equals ``before``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from remediation.errors import NotClean, RollbackFailed, VerifyFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remediation.journal import Journal
    from remediation.transport import Transport

Before = TypeVar("Before")


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

    def apply(self, on: Transport) -> None:
        """Bring about the desired state."""

    def rollback(self, on: Transport, before: Before) -> None:
        """Bring back the captured state."""


@dataclass(frozen=True)
class Consequence:
    """A reload or restart: it runs once, at the end, if an action that needs it changed."""

    name: str
    run: Callable[[], None] = field(compare=False)


@dataclass(frozen=True)
class Step:
    """An action, the machine it works on, and what follows from a change."""

    action: Action[Any]
    on: Transport
    then: tuple[Consequence, ...] = ()


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

    ``tell`` hears one line before anything that takes time; ``unasked`` says what the plan
    holds beyond these steps and cannot look at now, and why.
    """

    steps: Sequence[Step]
    journal: Journal
    tell: Callable[[str], None] = lambda _: None
    unasked: Sequence[str] = ()

    def drifts(self) -> list[tuple[Step, Drift | None]]:
        """Return each step with its drift; changes nothing."""
        return [(step, step.action.check(step.on)) for step in self.steps]

    def apply(self) -> list[Outcome]:
        """Bring about every desired state, or take back everything.

        Returns:
            What became of each action, in order, then of each consequence.

        Raises:
            NotClean: an earlier run did not end; its journal must be rolled back first.
            VerifyFailed: drift was left after an action; everything is rolled back.
            RemediationError: an action failed; everything is rolled back.
            RollbackFailed: and that failed, too.
        """
        if self.journal.unfinished():
            raise NotClean(
                f"{self.journal.path} holds the before-images of a run that did not end. "
                "Take them back first: python -m remediation rollback, with the same --target"
            )
        outcomes: list[Outcome] = []
        changed: list[Step] = []
        try:
            for step in self.steps:
                outcomes.append(self._apply_one(step))
                if outcomes[-1].changed:
                    changed.append(step)
            outcomes += self._follow(changed)
            for step in changed:
                _verify(step)
        except BaseException:  # Ctrl-C and our own mistakes too: nothing half-applied is left
            if self.journal.unfinished():
                self.tell("taking back what was changed")
                self.rollback()
            raise
        if changed:
            self.journal.finish()
        return outcomes

    def _apply_one(self, step: Step) -> Outcome:
        action = step.action
        drift = action.check(step.on)
        if drift is None:
            return Outcome(action.name, action.requirement, False, "already so")
        self.tell(action.name)
        self.journal.begin()
        if self.journal.before(action.name) is None:
            self.journal.record(action.name, step.on.machine, action.capture(step.on))
        action.apply(step.on)
        _verify(step)
        return Outcome(action.name, action.requirement, True, drift.summary)

    def _follow(self, changed: Sequence[Step]) -> list[Outcome]:
        """Run what follows from the changed steps."""
        outcomes = []
        for consequence in self._wanted(changed):
            self.tell(consequence.name)
            consequence.run()
            outcomes.append(Outcome(consequence.name, "", True, "something it depends on changed"))
        return outcomes

    def _wanted(self, changed: Sequence[Step]) -> list[Consequence]:
        """Return the consequences of the changed steps, each once, in the plan's order."""
        wanted = {consequence for step in changed for consequence in step.then}
        return list(dict.fromkeys(c for step in self.steps for c in step.then if c in wanted))

    def rollback(self) -> list[Outcome]:
        """Take back, in reverse order, everything the journal holds.

        Returns:
            What became of each action; empty if the journal is.

        Raises:
            RollbackFailed: every undo that failed; the others were done, and the journal stays.
        """
        entries = self.journal.entries()
        known = {step.action.name: step for step in self.steps}
        outcomes: list[Outcome] = []
        failures: list[tuple[str, Exception]] = []
        undone: list[Step] = []
        for entry in reversed(entries):
            step = known.get(entry.action)
            if step is None:
                failures.append((entry.action, LookupError(f"{entry.machine} is not there now")))
                continue
            try:
                outcomes.append(self._undo_one(step))
                if outcomes[-1].changed:
                    undone.append(step)
            except Exception as error:  # noqa: BLE001 - one failing undo never stops the others
                failures.append((entry.action, error))
        for consequence in self._wanted(undone):
            try:
                self.tell(consequence.name)
                consequence.run()
            except Exception as error:  # noqa: BLE001 - as above
                failures.append((consequence.name, error))
        if failures:
            raise RollbackFailed(failures)
        self.journal.close()
        return outcomes

    def _undo_one(self, step: Step) -> Outcome:
        action = step.action
        before = self.journal.before(action.name, action.before)
        if action.capture(step.on) == before:
            return Outcome(action.name, action.requirement, False, "is as before already")
        self.tell(f"taking back: {action.name}")
        action.rollback(step.on, before)
        if action.capture(step.on) != before:
            raise VerifyFailed(f"{action.name}: after rollback it is not as before")
        return Outcome(action.name, action.requirement, True, "as before")


def _verify(step: Step) -> None:
    left = step.action.check(step.on)
    if left is not None:
        raise VerifyFailed(
            f"{step.action.name} was applied on {step.on.machine}, and still: {left.summary}"
        )
