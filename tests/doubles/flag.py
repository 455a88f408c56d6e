"""The smallest action, on one value in memory, which can be told to fail; and plans of such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from remediation.engine.action import Consequence, Simple, Step
from remediation.engine.journal import Journal
from remediation.engine.plan import Plan
from targets.drift import Drift
from targets.errors import RemediationError
from targets.transport import Local

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from remediation.engine.action import Action
    from targets.transport import Transport

ON = Local()


@dataclass
class Flag(Simple):
    """Its desired state is ``new``."""

    id: str
    requirement: str = "STEP-1.2"
    value: str = "old"
    on_apply: Callable[[Flag], None] = lambda self: setattr(self, "value", "new")
    fails_back: bool = False
    before: ClassVar[Any] = str

    @property
    def title(self) -> str:
        return f"the flag {self.id}"

    def capture(self, _: Transport) -> str:
        return self.value

    def check(self, _: Transport) -> Drift | None:
        return None if self.value == "new" else Drift("it is old")

    def apply(self, _: Transport) -> None:
        self.on_apply(self)

    def rollback(self, _: Transport, before: str) -> None:
        if self.fails_back:
            raise RemediationError("stuck")
        self.value = before


def fail(_: Flag) -> None:
    raise RemediationError("no")


def journal(folder: Path, ctid: int = 950, on: Transport = ON) -> Journal:
    return Journal(on, ctid, str(folder / "journal"))


def plan(
    folder: Path, *actions: Action[Any], then: tuple[Consequence, ...] = (), ctid: int = 950
) -> Plan:
    return Plan([Step(action, ON, then) for action in actions], journal(folder, ctid))
