"""The gate's scenarios by their ids: title, file, tags and sentences, read from ``features/``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bdd.parser import FeatureParser
from pytest_bdd.scenario import make_python_name

from docker_lxc_gate.verdict.collection import IDENTITY

if TYPE_CHECKING:
    from remediation.plan_file import PlanFile

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Scenario:
    """One scenario: title, tags, sentences, and its pytest node id."""

    title: str
    nodeid: str
    tags: frozenset[str]
    sentences: tuple[str, ...]

    @property
    def mutates(self) -> bool:
        """Whether it changes something on the target."""
        return "mutates" in self.tags

    @property
    def rehearses(self) -> bool:
        """Whether it starts before the plan is applied, or without a container."""
        return bool(self.tags & {"before_the_plan", "from_nothing"})

    def is_of(self, plan: PlanFile) -> bool:
        """Whether the gate asks it under a plan."""
        clauses = (tag.removeprefix("req:") for tag in self.tags if tag.startswith("req:"))
        return plan.asks(clauses, of_default="default_plan" in self.tags)


@cache
def scenarios() -> dict[str, Scenario]:
    """Return every scenario by its id: read-only ones first, then in the order of the files.

    Raises ValueError if one has no id, or several.
    """
    by_id = {}
    for path in sorted((_ROOT / "features").glob("*.feature")):
        feature = FeatureParser(str(path.parent), path.name).parse()
        for title, scenario in feature.scenarios.items():
            tags = frozenset(scenario.tags)
            names = [tag.removeprefix(IDENTITY) for tag in tags if tag.startswith(IDENTITY)]
            if len(names) != 1:
                raise ValueError(f"{path}: {title}: give it one tag @{IDENTITY}NAME")
            nodeid = f"features/{path.name}::test_{make_python_name(title)}"
            sentences = tuple(step.name for step in scenario.steps)
            by_id[names[0]] = Scenario(title, nodeid, tags, sentences)
    return dict(sorted(by_id.items(), key=lambda item: item[1].mutates))


def read_only() -> tuple[str, ...]:
    """Return the ids of the scenarios that change nothing."""
    return tuple(name for name, scenario in scenarios().items() if not scenario.mutates)


def inside() -> tuple[str, ...]:
    """Return the ids of the scenarios that need a running container."""
    need = "the container is running"
    return tuple(name for name, scenario in scenarios().items() if need in scenario.sentences)
