"""The plan applied, rolled back, compared and applied again, with the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from docker_lxc_gate.facts import machine_state
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean, VerifyFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back


@dataclass(frozen=True)
class StageResult:
    """A finished stage: its duration (seconds), and its result."""

    name: str
    seconds: float
    said: str
    differences: tuple[str, ...] = ()


def rehearse(plan: Callable[[], Plan], look: Callable[[], dict[str, str]]) -> Iterator[StageResult]:
    """Rehearse a plan; the plan is applied at the end, unless something differed.

    Each time there is a new plan, so that stages share only the journal. ``look`` returns the state
    of all that the plan may change (:mod:`docker_lxc_gate.facts.machine_state`).

    Yield each finished stage; ``compare``, if anything differs after the rollback, is the last one.

    Raises:
        NotClean: the plan, or a part of it, is applied already.
        RemediationError: a stage failed; ``status`` shows the state that it left.
    """
    if plan().journal.entries():
        raise NotClean(
            "the plan is applied already, but a rehearsal starts without it: roll it back"
        )

    def apply_once() -> str:
        changed = sum(outcome.changed for outcome in apply(plan()))
        if not changed:
            raise NotClean("the plan has nothing to change, so there is nothing to rehearse")
        return f"{changed} changes"

    def verify() -> str:
        drifts = [drift.summary for _, drift in plan().drifts() if drift is not None]
        if drifts:
            raise VerifyFailed("the plan was applied, but drift is left: " + "; ".join(drifts))
        return "no drift"

    clock = time.monotonic()

    def ended(name: str, said: str, differences: tuple[str, ...] = ()) -> StageResult:
        nonlocal clock
        started, clock = clock, time.monotonic()
        return StageResult(name, clock - started, said, differences)

    before = machine_state.comparable_after_rollback(look())
    yield ended("before", f"{len(before)} facts")
    yield ended("apply", apply_once())
    yield ended("verify", verify())
    rolled_back = [outcome for outcome in roll_back(plan()) if outcome.changed]
    yield ended("rollback", f"{len(rolled_back)} actions rolled back")
    differing = tuple(
        machine_state.differences(before, machine_state.comparable_after_rollback(look()))
    )
    yield ended("compare", f"{len(differing)} facts differ" if differing else "exact", differing)
    if differing:
        return
    yield ended("apply again", apply_once())
    yield ended("verify again", verify())
