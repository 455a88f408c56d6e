"""Every sentence has one definition, every definition is used, every clause is carried."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from gherkin.parser import Parser
from pytest_bdd import parser
from pytest_bdd.steps import StepFunctionContext, step_function_context_registry

import steps as package
from docker_lxc_gate.verdict.requirements import CATALOGUE
from tests.doubles.samples import ROOT

FEATURES = sorted((ROOT / "features").glob("*.feature"))
MODULES = sorted(p.stem for p in Path(package.__file__).parent.glob("[a-z]*.py"))


def definitions() -> list[StepFunctionContext]:
    for name in MODULES:
        import_module(f"steps.{name}")
    found = step_function_context_registry.values()
    return [each for each in found if each.step_func.__module__.startswith("steps.")]


def sentences() -> list[tuple[str, str, str]]:
    found = []
    for path in FEATURES:
        feature = parser.FeatureParser(str(path.parent), path.name).parse()
        for each in feature.scenarios.values():
            found += [(path.name, step.type, step.name) for step in each.steps]
    return found


def matching(kind: str, sentence: str) -> list[StepFunctionContext]:
    return [
        context
        for context in definitions()
        if context.type in {None, kind} and context.parser.is_matching(sentence)
    ]


@pytest.mark.parametrize(("file", "kind", "sentence"), sorted(set(sentences())))
def test_sentence_of_a_feature_has_one_definition(file: str, kind: str, sentence: str) -> None:
    assert len(matching(kind, sentence)) == 1, f"{file}: {sentence}"


def test_definition_of_a_step_is_used() -> None:
    used = {id(c.parser) for _, kind, sentence in sentences() for c in matching(kind, sentence)}
    unused = [c.parser.name for c in definitions() if id(c.parser) not in used]
    assert unused == []


def test_clauses_of_the_plan_are_those_that_scenarios_carry() -> None:
    carried = {each for path in FEATURES for each in re.findall(r"@req:(\S+)", path.read_text())}
    assert carried == {*CATALOGUE}


@pytest.mark.parametrize("path", FEATURES, ids=lambda path: path.stem)
def test_scenario_of_a_feature_has_a_name_of_its_own_a_then_and_seven_sentences(path: Path) -> None:
    children = Parser().parse(path.read_text())["feature"]["children"]
    scenarios = [child["scenario"] for child in children if "scenario" in child]
    assert len({each["name"] for each in scenarios}) == len(scenarios)
    for each in scenarios:
        assert "Outcome" in {step["keywordType"] for step in each["steps"]}, each["name"]
        assert len(each["steps"]) <= 7, each["name"]
