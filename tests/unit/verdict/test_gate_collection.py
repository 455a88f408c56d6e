"""Feature files are collected as they are, and what they must not say is a usage error."""

import pytest

from docker_lxc_gate.verdict.requirements import CATALOGUE, severity
from tests.unit.verdict.conftest import Toy

_TWO = """
@node
Feature: Two
  @id:one-thing @req:VAL-2 @req:PRE-1 @mutates
  Scenario: One thing
    Then all is well
  @req:VAL-3
  Scenario: Another thing
    Then all is well
"""


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["-k", "VAL-2"], "One thing"),
        (["-m", 'req(id="VAL-3")'], "Another thing"),
        (["-m", "mutates and node"], "One thing"),
        (["features/toy.feature::test_one_thing"], "One thing"),
    ],
)
def test_gate_runs_the_selected_scenario_alone(toy: Toy, args: list[str], name: str) -> None:
    toy.text(_TWO)
    seen = toy.run(*args)
    assert seen.ret == 0
    assert [each["name"] for each in toy.results()] == [name]


def test_results_carry_requirements_in_the_order_of_the_plan(toy: Toy) -> None:
    toy.text(_TWO)
    toy.run()
    [labels] = [each["labels"] for each in toy.results() if each["name"] == "One thing"]
    clauses = [each["value"] for each in labels if each["name"] == "epic"]
    assert [each.partition(" ")[0] for each in clauses] == ["PRE-1", "VAL-2"]
    assert {each["value"] for each in labels if each["name"] == "tag"} == {
        *("PRE-1", "VAL-2", "mutates", "node")
    }


def test_catalogue_is_that_of_the_plan() -> None:
    assert len(CATALOGUE) == 5 + 4 + 3 + 3 + 3 + 5
    heaviest = [("PRE-1", "STEP-1.2"), ("STEP-1.4", "PRE-1"), ("BACK-1",), ("STEP-2.2", "VAL-2")]
    assert [*map(severity, heaviest)] == ["normal", "critical", "critical", "blocker"]


def test_gate_leaves_other_tests_as_they_are(toy: Toy) -> None:
    toy.pytester.makepyfile(test_plain="def test_a(): pass\ndef test_b(): assert False")
    seen = toy.run("test_plain.py")
    seen.assert_outcomes(passed=1, failed=1)
    seen.stdout.fnmatch_lines(["*FAILURES*"])
    assert seen.ret == 1
    assert not (toy.path / "reports").exists()
