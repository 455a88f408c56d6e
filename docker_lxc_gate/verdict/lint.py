"""Mistakes in feature files, found before any scenario runs.

Without this check they would be silent: a misspelt tag selects nothing, a second scenario with the
same name replaces the first, and a scenario without a Then can only be compliant.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gherkin.errors import CompositeParserException
from gherkin.parser import Parser

from docker_lxc_gate import patterns
from docker_lxc_gate.tables import table
from docker_lxc_gate.verdict.requirements import CATALOGUE

#: The tags that are not requirements, and their meaning.
TAGS = table("docker_lxc_gate.verdict", "tags", dict[str, str])
REQUIREMENT = "req:"
#: ``@id:driver`` is a scenario's name for programs: the faults use it, so a title may change.
IDENTITY = "id:"
_ID = patterns.compile(r"[a-z]+(-[a-z]+)*")

#: A node of the parsed file, as the official Gherkin parser returns it.
Node = dict[str, Any]


def problems(path: Path) -> Iterator[str]:
    """Yield the mistakes in a feature file, each with file and line."""
    try:
        feature: Any = Parser().parse(path.read_text("utf-8")).get("feature")
    except CompositeParserException as error:
        yield from (f"{path}:{each.location['line']}: {each}" for each in error.errors)
        return
    if not feature:
        yield f"{path}:1: there is no feature in this file"
        return
    for line, text in sorted([*_tag_problems(feature), *_scenario_problems(feature)]):
        yield f"{path}:{line}: {text}"


def _tag_problems(feature: Node) -> Iterator[tuple[int, str]]:
    for tag, owner in _tags(feature, "feature"):
        line, name = tag["location"]["line"], tag["name"].removeprefix("@")
        if name.startswith(REQUIREMENT):
            if name.removeprefix(REQUIREMENT) not in CATALOGUE:
                yield line, f"@{name}: there is no such requirement"
        elif name.startswith(IDENTITY):
            if owner != "scenario" or not _ID.fullmatch(name.removeprefix(IDENTITY)):
                yield line, f"@{name}: an id names one scenario, in lower case: @id:two-words"
        elif name not in TAGS:
            known = ", ".join(f"@{each}" for each in TAGS)
            yield line, f"@{name}: the tags are {known}, @req:CLAUSE and @id:NAME"


def _scenario_problems(feature: Node) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for scenario in _scenarios(feature):
        line, name = scenario["location"]["line"], scenario["name"]
        if name in seen:
            yield line, f'a second scenario is called "{name}"'
        seen.add(name)
        if not any(step["keywordType"] == "Outcome" for step in scenario["steps"]):
            yield line, f'"{name}" has no Then: it could only be compliant'
        if scenario["keyword"] not in {"Scenario", "Example"}:
            yield line, f'"{name}" is an outline: write a scenario for each of its examples'


def _tags(node: Node, owner: str) -> Iterator[tuple[Node, str]]:
    """Yield every tag at and below a node, with the kind of its owner."""
    yield from ((tag, owner) for tag in node.get("tags", []))
    for child in node.get("children", []):
        for kind, inner in child.items():
            yield from _tags(inner, kind)


def _scenarios(node: Node) -> Iterator[Node]:
    for child in node["children"]:
        if "scenario" in child:
            yield child["scenario"]
        elif "rule" in child:
            yield from _scenarios(child["rule"])
