"""Feature files are collected as they are, and what they must not say is a usage error."""

from pathlib import Path

import pytest

from docker_lxc_gate.verdict.lint import problems
from docker_lxc_gate.verdict.requirements import CATALOGUE, in_order
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


def test_collect_only_lists_scenarios_by_their_file(toy: Toy) -> None:
    toy.text(_TWO)
    seen = toy.run("--collect-only", "-q")
    seen.stdout.fnmatch_lines(
        ["features/toy.feature::test_one_thing", "features/toy.feature::test_another_thing"]
    )
    assert seen.ret == 0
    assert not (toy.path / "reports").exists()


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["-k", "VAL-2"], "One thing"),
        (["-k", "another"], "Another thing"),
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
    assert in_order({"VAL-1", "PRE-5", "NO-1"}) == ("PRE-5", "VAL-1")


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        ("@node @mutate\nFeature: X\n Scenario: Y\n  Then all is well", 1, "@mutate: "),
        ("Feature: X\n @req:VAL-9\n Scenario: Y\n  Then all is well", 2, "@req:VAL-9: "),
        ("@id:x\nFeature: X\n Scenario: Y\n  Then all is well", 1, "@id:x: "),
        ("Feature: X\n @id:Two_words\n Scenario: Y\n  Then all is well", 2, "@id:Two_words: "),
        ("Feature: X\n Rule: R\n  @wip\n  Scenario: Y\n   Then all is well", 3, "@wip: "),
        ('Feature: X\n Scenario Outline: Y\n  Then the value is "<v>"', 2, '"Y" is an outline'),
        ("Feature: X\n Scenario: Y\n  Given a target\n  When a skip in a When", 2, '"Y" has no T'),
        (
            "Feature: X\n Scenario: Y\n  Then all is well\n Scenario: Y\n  Then all is well",
            4,
            '"Y"',
        ),
        ("Feature: X\n Scenario: Y\n  Then all is well\n  Perhaps", 4, "Perhaps"),
        ("# nothing\n", 1, ""),
    ],
)
def test_problems_of_a_wrong_feature_name_line_and_cause(
    tmp_path: Path, text: str, line: int, named: str
) -> None:
    path = tmp_path / "x.feature"
    path.write_text(text)
    [problem] = problems(path)
    assert problem.startswith(f"{path}:{line}: ")
    assert named in problem


def test_gate_with_a_bad_feature_is_a_usage_error(toy: Toy) -> None:
    toy.apart = True
    toy.feature("Then all is well", name="good")
    toy.feature("Then all is well", name="bad", tags="@wip")
    seen = toy.run()
    assert seen.ret == 2
    seen.stderr.fnmatch_lines(["ERROR: *features/bad.feature:2: @wip: the tags are *"])
    seen.stderr.no_fnmatch_line("*Traceback*")
    assert toy.run("features/good.feature").ret == 0


def test_gate_leaves_other_tests_as_they_are(toy: Toy) -> None:
    toy.pytester.makepyfile(test_plain="def test_a(): pass\ndef test_b(): assert False")
    seen = toy.run("test_plain.py")
    seen.assert_outcomes(passed=1, failed=1)
    seen.stdout.fnmatch_lines(["*FAILURES*"])
    assert seen.ret == 1
    assert not (toy.path / "reports").exists()
