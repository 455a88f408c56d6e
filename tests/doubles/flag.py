"""The smallest action, on one value in memory, which can be told to fail; and plans of such."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.transport import Local, Transport
from remediation.engine.action import Action, Consequence, Drift, Step
from remediation.engine.journal import Journal
from remediation.engine.plan import Plan

ON = Local()


class Flag(Action[str]):
    """Its desired state is ``new``."""

    before: ClassVar[Any] = str

    def __init__(
        self,
        id_: str,
        requirement: str = "STEP-1.2",
        *,
        value: str = "old",
        on_apply: Callable[["Flag"], None] = lambda self: setattr(self, "value", "new"),
        fails_back: bool = False,
    ) -> None:
        super().__init__(id_, f"the flag {id_}", requirement)
        self.value, self.on_apply, self.fails_back = value, on_apply, fails_back

    def capture(self, _: Transport) -> str:
        return self.value

    def check(self, _: Transport) -> Drift | None:
        return None if self.value == "new" else Drift("it is old")

    def apply(self, _: Transport, before: str) -> None:
        self.on_apply(self)

    def rollback(self, _: Transport, before: str) -> None:
        if self.fails_back:
            raise RemediationError("stuck")
        self.value = before


def fail(_: Flag) -> None:
    raise RemediationError("no")


def no_space(*_: object, **__: object) -> None:
    """In the place of what writes to a journal."""
    raise RemediationError("no space left")


def journal(folder: Path, ctid: int = 950, on: Transport = ON) -> Journal:
    return Journal(on, ctid, str(folder / "journal"))


def plan(
    folder: Path, *actions: Action[Any], then: tuple[Consequence, ...] = (), ctid: int = 950
) -> Plan:
    return Plan([Step(action, ON, then) for action in actions], journal(folder, ctid))
