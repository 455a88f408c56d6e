"""What a plan is made of: actions, each checked, journalled, applied and rolled back.

Two laws hold for every action and are tested for every action: after ``apply``, ``check`` is
``None``; after ``rollback(before)``, ``capture`` equals ``before``, wherever ``apply`` or an
earlier ``rollback`` was cut off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from docker_lxc_gate.machines.transport import Transport

Before = TypeVar("Before")


@dataclass(frozen=True)
class Drift:
    """The difference between desired and actual, as an error carries it and a reader is shown it.

    ``is_`` and ``should`` are texts for a unified diff; where there is no text to compare,
    ``summary`` says it all. ``shown`` are the two texts in the form in which they were compared,
    if that is another one.
    """

    summary: str
    is_: bytes = b""
    should: bytes = b""
    shown: tuple[bytes, bytes] | None = None


@dataclass(frozen=True)
class Action(ABC, Generic[Before]):
    """One desired state. An action defines four verbs; the other methods have defaults.

    The ``id`` names it for programs: it is unique in a plan, the key of the action's journal
    entries, and never changes. The ``title`` names it for people, and may be reworded at any time.
    The ``requirement`` is the id of the clause that it implements.
    """

    id: str
    title: str
    requirement: str

    #: The type of the before-image, with which a journal entry is read.
    before: ClassVar[Any]
    #: Whether ``rollback`` deletes what is there now, whatever a later run found.
    purges: ClassVar[bool] = False
    #: The file that the action is about; empty if it is about none. Not annotated, so no field:
    #: actions that are about a file have a field of this name.
    path = ""

    @abstractmethod
    def capture(self, on: Transport) -> Before:
        """Return everything that ``rollback`` needs, and nothing that changes by itself."""

    @abstractmethod
    def check(self, on: Transport) -> Drift | None:
        """Return the drift, or None. Changes nothing."""

    @abstractmethod
    def apply(self, on: Transport, before: Before) -> None:
        """Bring about the desired state; ``before`` is what ``capture`` returned in this run."""

    @abstractmethod
    def rollback(self, on: Transport, before: Before) -> str | None:
        """Bring back the before-image, from any state in which a run can end.

        Return what stays as it is, and why, if not everything can be brought back.
        """

    def left(self, on: Transport) -> Before:
        """Return what ``apply`` left: as ``capture``, but for what only ``rollback`` needs."""
        return self.capture(on)

    def require_reversible(self, on: Transport) -> None:
        """Raise FactError, before any change, if the present state could not be brought back."""

    def current(self, on: Transport) -> Before | None:
        """Return the present state that ``rollback`` would overwrite, or None if it is nobody's.

        Unlike ``capture`` it asks only for what ``changed_since`` compares: the rest may not answer
        any more. Raises Busy if another program is working on it, so nothing may be rolled back
        now.
        """
        return None

    def changed_since(self, now: Before, before: Before, after: Before | None) -> Drift | None:
        """Return what somebody changed since ``apply`` and ``rollback`` would overwrite.

        ``now`` is what ``current`` returned, or what a later run found; ``after`` is what ``apply``
        left, or None if it was cut off.
        """
        return None

    def side_effects(self, on: Transport, before: Before | None) -> list[SideEffect]:
        """Return each thing that is stopped, hidden or removed on the way; changes nothing.

        ``before`` is the before-image that ``rollback`` will bring back, or None for ``apply``.
        """
        return []

    def restored(self, on: Transport, before: Before) -> bool:
        """Whether ``rollback`` has brought back all that it can."""
        return bool(self.capture(on) == before)

    def remark(self, on: Transport, before: Before) -> str:
        """Return what is back, but not byte for byte; empty if nothing."""
        return ""


@dataclass(frozen=True)
class SideEffect:
    """Something that is stopped, hidden or removed by a change or its rollback.

    The ``id`` says what happens, and to which object. Side effects with the same id are equal: a
    user who agreed to one agreed to the other. What it ``loses`` (or hides) may change from one
    look to the next: Docker's own containers come and go.
    """

    id: str
    title: str = field(compare=False)
    loses: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        """Return it in a sentence."""
        return "; ".join((self.title, *self.loses))


class Place(StrEnum):
    """The machine that an action changes: the node, or the container that the plan is for."""

    NODE = "node"
    CONTAINER = "container"


@dataclass(frozen=True)
class Consequence:
    """A reload or restart: it runs once, at the end, if an action that needs it changed.

    Two with the same id are one. ``run`` is given the before-images of all actions that were
    changed or rolled back, by their ids; so is ``due``, whether apply has to run it.
    """

    id: str
    title: str = field(compare=False)
    run: Callable[[Mapping[str, Any]], None] = field(compare=False)
    due: Callable[[Mapping[str, Any]], bool] = field(default=lambda _: True, compare=False)


@dataclass(frozen=True)
class Step:
    """An action, the machine it works on, and what follows a change and its rollback.

    Args:
        then_back: what follows its rollback, if that is something else.
        place: which machine it is: the name that ``on`` has for it is for people.
        machine_of: returns what tells the machine of a before-image from another one, empty if it
            is not known. A container's number may have been given to another one since.
        machine: asks the same of the machine that is there now, and nothing else.
    """

    action: Action[Any]
    on: Transport
    then: tuple[Consequence, ...] = ()
    then_back: tuple[Consequence, ...] = ()
    place: Place = Place.NODE
    machine_of: Callable[[Any], str] | None = None
    machine: Callable[[Transport], str] | None = None


@dataclass(frozen=True)
class StepOutcome:
    """What became of one action or consequence: ``changed`` or not, and why."""

    id: str
    title: str
    requirement: str
    changed: bool
    reason: str
