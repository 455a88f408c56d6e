"""A look at a plan in as few round trips as there are machines: nothing is changed by it.

What the checks are going to ask is found out by letting each begin; what a check asks after that
is said here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facts import apparmor
from remediation.actions.apparmor_profile import Profile
from remediation.actions.storage_driver import DRIVER_IN_USE, StorageDriver, without_docker
from remediation.engine.action import Place
from remediation.engine.journal import Journal
from targets.batch import Ahead, Argv, question

if TYPE_CHECKING:
    from remediation.engine.action import Action
    from remediation.engine.plan import Plan
    from targets.transport import Transport


def looking(plan: Plan, node: Transport) -> Plan:
    """Return the plan to be looked at: its steps and its journal ask at once.

    Args:
        plan: of which nothing is to be applied or rolled back.
        node: where its journal lies.
    """
    ctid, directory = plan.journal.ctid, plan.journal.directory
    foreseen = {Place.NODE: [question(lambda on: Journal(on, ctid, directory).lines())]}
    places = {Place.NODE: node}
    for step in plan.steps:
        places[step.place] = step.on
        foreseen.setdefault(step.place, []).extend(_asked(step.action))
    ahead = {place: Ahead(on, filter(None, foreseen[place])) for place, on in places.items()}
    steps = [replace(step, on=ahead[step.place]) for step in plan.steps]
    return replace(plan, steps=steps, journal=Journal(ahead[Place.NODE], ctid, directory))


def _asked(action: Action[Any]) -> list[Argv]:
    asked = [question(action.check)]
    if isinstance(action, Profile):
        asked.append(question(lambda on: apparmor.loaded_policy(on, action.profile)))
        asked.append(question(lambda on: apparmor.compiled_policy(on, action.path)))
    if isinstance(action, StorageDriver):
        asked.append(question(without_docker))
        asked.append(DRIVER_IN_USE)
    return asked
