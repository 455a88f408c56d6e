"""Looking at a plan in one round trip a machine: all that its checks will read is asked at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from remediation.engine.action import Place
from remediation.engine.journal import Journal
from targets.batch import Ahead

if TYPE_CHECKING:
    from remediation.engine.plan import Plan
    from targets.transport import Transport


def looking(plan: Plan, node: Transport) -> Plan:
    """Return the plan with its reads, and those of its journal, asked together.

    Args:
        plan: of which nothing is to be applied or rolled back.
        node: where its journal lies.
    """
    machines = {Place.NODE: Ahead(node, plan.journal.reads())}
    for step in plan.steps:
        machines.setdefault(step.place, Ahead(step.on)).expect(step.action.reads())
    steps = [replace(step, on=machines[step.place]) for step in plan.steps]
    journal = Journal(machines[Place.NODE], plan.journal.ctid, plan.journal.directory)
    return replace(plan, steps=steps, journal=journal)
