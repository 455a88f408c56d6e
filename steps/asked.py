"""Which scenarios are asked: those of the plan that may be asked of the target as it is.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.read import is_directory
from docker_lxc_gate.verdict import collection, evidence
from docker_lxc_gate.verdict.record import Verdict
from remediation import applied, phoenix, plan_file
from steps import machines

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from remediation.plan_file import PlanFile


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would change a target, unless that is allowed, and what it does not have."""
    items.sort(key=lambda item: item.get_closest_marker("before_the_plan") is None)
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
    for plan in dict.fromkeys(filter(None, map(_plan_of, items))):
        others = [i for i in items if _plan_of(i) == plan and not _is_of(i, plan)]
        why = f"not of the plan {plan.name}"
        _leave_out(config, items, others, why, Verdict.NOT_APPLICABLE)
    if not machines.changes_allowed(config):
        changing = [item for item in items if item.get_closest_marker("mutates")]
        why = "runs Docker or changes the target, which needs --allow-mutation"
        _leave_out(config, items, changing, why)
    if not config.getoption("--target") or config.option.collectonly:
        return
    tagged = [item for item in items if any(map(item.get_closest_marker, _WITHOUT))]
    asked_about = dict.fromkeys(filter(None, map(machines.target_of, tagged)))
    without = {target: _without(config, target) for target in asked_about}
    for tag, (_, why) in _WITHOUT.items():
        those = [target for target, tags in without.items() if tag in tags]
        asked = [i for i in items if i.get_closest_marker(tag) and machines.target_of(i) in those]
        _leave_out(config, items, asked, why)


def _plan_of(item: pytest.Item) -> PlanFile | None:
    target = machines.target_of(item)
    return plan_file.find(target.plan) if target else None


def _is_of(item: pytest.Item, plan: PlanFile) -> bool:
    clauses = (str(mark.kwargs["id"]) for mark in item.iter_markers("req"))
    return plan.asks(clauses, of_default=item.get_closest_marker("default_plan") is not None)


def _leave_out(
    config: pytest.Config,
    items: list[pytest.Item],
    out: list[pytest.Item],
    why: str,
    verdict: Verdict = Verdict.NOT_ASKED,
) -> None:
    """Leave scenarios out, and let the report say why, so that no verdict says more than it is."""
    for item in out:
        item.stash[collection.LEFT_OUT] = verdict, why
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


#: By tag: of which targets its scenarios are not asked, and why.
_WITHOUT: dict[str, tuple[Callable[[Runtime, Target], bool], str]] = {
    "from_nothing": (
        lambda runtime, target: runtime.state(target.ctid) is not None,
        "the container exists, so its creation is not checked",
    ),
    "before_the_plan": (
        lambda _, target: not target.reserved,
        "no ctid is reserved for a container of its own, so the rollback is not checked",
    ),
    "untouched": (
        lambda runtime, _: applied.is_on(runtime.node),
        "a plan is applied on the node, so the rollback of the node's part is not checked",
    ),
    "phoenix": (
        lambda runtime, target: (
            target.repository == phoenix.REPOSITORY  # one that was written must be there
            and not runtime.node.ask(is_directory(target.repository))
        ),
        "the node has no phoenix, so its files are not checked",
    ),
}


def _without(config: pytest.Config, target: Target) -> frozenset[str]:
    """Return the tags of what cannot be asked about; if nobody can say, the scenarios will."""
    with evidence.of_no_scenario(config), suppress(RemediationError):
        runtime = machines.opened(config, target)
        return frozenset(tag for tag, (so, _) in _WITHOUT.items() if so(runtime, target))
    return frozenset()
