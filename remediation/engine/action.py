"""What a plan is made of: actions, each checked, journalled, applied and rolled back.

Two laws hold for every action and are tested for every action: after ``apply``, ``check`` is
``None``; after ``rollback(before)``, ``capture`` equals ``before``, wherever ``apply`` or an
earlier ``rollback`` was cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from targets.drift import Drift
    from targets.read import Read
    from targets.transport import Transport

Before = TypeVar("Before")


class Action(Protocol[Before]):
    """One desired state that can be captured, checked, applied and rolled back."""

    @property
    def id(self) -> str:
        """What programs call it, for ever: unique in a plan, and the key of its journal entry."""

    @property
    def title(self) -> str:
        """What people call it; it may be reworded at any time."""

    @property
    def requirement(self) -> str:
        """The clause of the plan it implements, by id."""

    #: The type of its before-image, by which a journal entry is read back.
    before: ClassVar[Any]
    #: Whether taking it back deletes what stands there, whatever a later run found.
    purges: ClassVar[bool]

    def reads(self) -> Iterable[Read[Any]]:
        """Return what ``check`` will ask, as far as it is known beforehand: asked in one go."""

    def capture(self, on: Transport) -> Before:
        """Return all that ``rollback`` needs, and nothing that changes by itself."""

    def check(self, on: Transport) -> Drift | None:
        """Return the drift, or None; changes nothing."""

    def require_reversible(self, on: Transport) -> None:
        """Raise FactError if what is there now could not be brought back; before any change."""

    def apply(self, on: Transport) -> None:
        """Bring about the desired state."""

    def rollback(self, on: Transport, before: Before) -> str | None:
        """Bring back the captured state, from any state in which a run may have ended.

        Returns:
            What is left as it is, and why, where not all can be as before.
        """

    def standing(self, on: Transport) -> Before | None:
        """Return what is there and ``rollback`` would overwrite, as far as it is compared.

        None where it overwrites nothing that can be somebody's. Unlike ``capture`` it asks nothing
        else, which may not answer any more.

        Raises:
            Busy: something else is at work there, and nothing may be rolled back meanwhile.
        """

    def changed_since(self, now: Before, before: Before, after: Before | None) -> Drift | None:
        """Return what somebody changed since ``apply``, which ``rollback`` would overwrite.

        Args:
            now: what stood there afterwards.
            before: the before-image.
            after: what ``apply`` left, or None if it did not come to its end.
        """

    def restored(self, on: Transport, before: Before) -> bool:
        """Whether all that ``rollback`` brings back is as it was."""

    def remark(self, on: Transport, before: Before) -> str:
        """Return in a sentence what is back and not to the byte as it was, else nothing."""

    def price(self, on: Transport, before: Before | None) -> list[str]:
        """Return what is stopped, hidden or removed on the way, a sentence each.

        Args:
            on: where; nothing is changed.
            before: the before-image that ``rollback`` is about to bring back, or None where
                ``apply`` is asked about.
        """


class Simple:
    """What most actions have to say of meddling and of the price, nothing, and of being back."""

    purges: ClassVar[bool] = False

    def reads(self) -> Iterable[Read[Any]]:
        """See :class:`Action`."""
        return ()

    def require_reversible(self, on: Transport) -> None:
        """See :class:`Action`."""

    def capture(self, on: Transport) -> Any:
        """See :class:`Action`."""
        raise NotImplementedError

    def standing(self, on: Transport) -> Any:  # noqa: ARG002
        """See :class:`Action`."""
        return None

    def changed_since(self, now: Any, before: Any, after: Any) -> Drift | None:  # noqa: ARG002
        """See :class:`Action`."""
        return None

    def restored(self, on: Transport, before: Any) -> bool:
        """See :class:`Action`."""
        return bool(self.capture(on) == before)

    def remark(self, on: Transport, before: Any) -> str:  # noqa: ARG002
        """See :class:`Action`."""
        return ""

    def price(self, on: Transport, before: Any) -> list[str]:  # noqa: ARG002
        """See :class:`Action`."""
        return []


class Place(StrEnum):
    """The machine that an action changes: the node, or the container that the plan is for."""

    NODE = "node"
    CONTAINER = "container"


@dataclass(frozen=True)
class Consequence:
    """A reload or restart: it runs once, at the end, if an action that needs it changed.

    Args:
        id: what programs call it; two with the same id are one.
        title: what people call it.
        run: does it.
        back: does it on the way back, if that is something else, given the before-images of all
            actions that were rolled back, by their actions' ids.
    """

    id: str
    title: str = field(compare=False)
    run: Callable[[], None] = field(default=lambda: None, compare=False)
    back: Callable[[Mapping[str, Any]], None] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Step:
    """An action, the machine it works on, and what follows a change and its undoing.

    Args:
        action: what is done.
        on: reaches the machine.
        then: what follows a change.
        then_back: what follows its rollback, if that is something else.
        place: which machine it is: the name that ``on`` has for it is for people.
    """

    action: Action[Any]
    on: Transport
    then: tuple[Consequence, ...] = ()
    then_back: tuple[Consequence, ...] = ()
    place: Place = Place.NODE


@dataclass(frozen=True)
class Outcome:
    """What became of one action or consequence: ``changed`` or not, and why."""

    id: str
    title: str
    requirement: str
    changed: bool
    reason: str
