"""The gate's scenarios by their ids: title, file, tags and sentences, read from ``features/``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gherkin.parser import Parser
from pytest_bdd.scenario import make_python_name

from docker_lxc_gate.verdict.lint import IDENTITY

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


@cache
def scenarios() -> dict[str, Scenario]:
    """Return every scenario by its id: read-only ones first, then in the order of the files.

    Raises:
        ValueError: a scenario has no id, or several.
    """
    found = {}
    for path in sorted((_ROOT / "features").glob("*.feature")):
        document: Any = Parser().parse(path.read_text())
        before: tuple[str, ...] = ()
        for child in document["feature"]["children"]:
            if background := child.get("background"):
                before = _sentences(background)
            if scenario := child.get("scenario"):
                title = scenario["name"]
                tags = frozenset(tag["name"].removeprefix("@") for tag in scenario["tags"])
                (name,) = (tag.removeprefix(IDENTITY) for tag in tags if tag.startswith(IDENTITY))
                nodeid = f"features/{path.name}::test_{make_python_name(title)}"
                found[name] = Scenario(title, nodeid, tags, before + _sentences(scenario))
    return dict(sorted(found.items(), key=lambda item: item[1].mutates))


def read_only() -> tuple[str, ...]:
    """Return the ids of the scenarios that change nothing."""
    return tuple(name for name, scenario in scenarios().items() if not scenario.mutates)


def inside() -> tuple[str, ...]:
    """Return the ids of the scenarios that need a running container."""
    need = "the container is running"
    return tuple(name for name, scenario in scenarios().items() if need in scenario.sentences)


def _sentences(part: Any) -> tuple[str, ...]:
    return tuple(step["text"] for step in part["steps"])
