"""Every way a scenario can end, with the exit code, the word and Allure's status it must have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gate.verdicts import Verdict, first, judge
from targets.errors import (
    CommandFailed,
    FactError,
    RollbackFailed,
    TransportError,
    VerifyFailed,
)

if TYPE_CHECKING:
    from tests.unit.gate.conftest import Toy

pytest_plugins = ["pytester"]

_PASSED, _FAILED, _BROKEN = "passed", "failed", "broken"


_ENDS = [
    ("compliant", _PASSED, "Given a target", "Then all is well"),
    ("not compliant", _FAILED, "Then an assertion in a Then"),
    ("not compliant", _FAILED, "Then all is well", "And an assertion in a Then"),
    ("not compliant", _FAILED, "Then a failure in a Then"),
    ("not compliant", _FAILED, "When a difference in a When", "Then all is well"),
    ("not compliant", _FAILED, "Then a difference in a Then"),
    ("not compliant", _FAILED, "Then a clean-up that fails", "And an assertion in a Then"),
    ("undetermined", _BROKEN, "Then an error in a Then"),
    ("undetermined", _BROKEN, "Given an assertion in a Given", "Then all is well"),
    ("undetermined", _BROKEN, "Given an error in a Given", "Then all is well"),
    ("undetermined", _BROKEN, "Given a failure in a Given", "Then all is well"),
    ("undetermined", _BROKEN, "When an assertion in a When", "Then all is well"),
    ("undetermined", _BROKEN, "Then an odd fixture of a Then"),
    ("undetermined", _BROKEN, "Given a skip in a Given", "Then all is well"),
    ("undetermined", _BROKEN, "Then a skip in a Then"),
    ("undetermined", _BROKEN, "Then nobody knows this sentence"),
    ("undetermined", _BROKEN, "Then a clean-up that fails"),
    ("undetermined", _BROKEN, "Then a rollback that fails", "And an assertion in a Then"),
]


def test_every_way_a_scenario_can_end(toy: Toy) -> None:
    for number, (_, _, *sentences) in enumerate(_ENDS):
        toy.feature(*sentences, name=f"{number:02}", tags="@req:VAL-2")
    seen = toy.run()
    assert {each["name"]: each["status"] for each in toy.results()} == {
        f"{number:02}": status for number, (_, status, *_) in enumerate(_ENDS)
    }
    seen.stdout.fnmatch_lines(
        [f"VAL-2 * {number:02} * {verdict} *" for number, (verdict, *_) in enumerate(_ENDS)]
    )


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("Then all is well", 0),
        ("Then an assertion in a Then", 1),
        ("Then an error in a Then", 3),
        ("Then a skip in a Then", 3),
        ("Then a rollback that fails", 5),
    ],
)
def test_the_exit_code(toy: Toy, sentence: str, code: int) -> None:
    toy.feature(sentence)
    assert toy.run().ret == code


def test_a_fixture_in_the_set_up_is_no_verdict(toy: Toy) -> None:
    toy.feature("Then all is well")
    toy.conftest("\n@pytest.fixture(autouse=True)\ndef first(odd): pass\n")
    assert toy.run().ret == 3
    [result] = toy.results()
    assert (result["name"], result["status"]) == ("toy", _BROKEN)


def test_a_skip_says_why(toy: Toy) -> None:
    toy.feature("Then a skip in a Then")
    seen = toy.run()
    seen.stdout.fnmatch_lines(["*toy * undetermined * skipped: no audit log here"])
    seen.stdout.fnmatch_lines(["toy: undetermined (features/toy.feature:4)"])


def test_the_cause_is_told_without_the_code_of_steps(toy: Toy) -> None:
    toy.feature("Then an assertion in a Then")
    seen = toy.run()
    seen.stdout.fnmatch_lines(
        [
            "* toy * not compliant * the driver is overlay2",
            "toy: not compliant (features/toy.feature:4)",
            "  Then an assertion in a Then",
            "  the driver is overlay2",
            "verdict: not compliant (1 not compliant)",
        ]
    )
    seen.stdout.no_fnmatch_line("*conftest.py*")
    seen.stdout.no_fnmatch_line("*FAILURES*")


def test_v_shows_the_way_to_an_error(toy: Toy) -> None:
    toy.feature("Then an error in a Then")
    toy.run("-v").stdout.fnmatch_lines(["*FAILURES*", "conftest.py:*: in raises", "*FactError*"])


def test_evidence_stands_beside_a_compliant_scenario(toy: Toy) -> None:
    toy.feature("Then all is well", 'And the value is "4 layers"')
    toy.run().stdout.fnmatch_lines(["* toy * compliant * the driver is fuse-overlayfs; 4 layers"])


def test_a_difference_outranks_what_is_undetermined(toy: Toy) -> None:
    toy.feature("Then an assertion in a Then", name="a")
    toy.feature("Then an error in a Then", name="b")
    toy.feature("Then all is well", name="c")
    seen = toy.run()
    assert seen.ret == 1
    seen.stdout.fnmatch_lines(
        ["verdict: not compliant (1 compliant, 1 not compliant, 1 undetermined)"]
    )


@pytest.mark.parametrize(
    ("codes", "code"),
    [(set(), 0), ({0, 3}, 3), ({3, 6}, 6), ({6, 1, 3}, 1), ({1, 5}, 5), ({5, 2, 1}, 2)],
)
def test_precedence(codes: set[int], code: int) -> None:
    assert first(codes) == code


def test_a_group_means_what_its_worst_member_means() -> None:
    group = ExceptionGroup("", [FactError("f"), ExceptionGroup("", [VerifyFailed("v")])])
    assert judge(group, in_then=False).verdict is Verdict.NOT_COMPLIANT
    assert judge(ExceptionGroup("", [group, RollbackFailed([])]), in_then=True).code == 5


@pytest.mark.parametrize("error", [TransportError("t"), ValueError(), KeyError("k")])
def test_other_errors_in_a_then_are_undetermined(error: Exception) -> None:
    assert judge(error, in_then=True).verdict is Verdict.UNDETERMINED


def test_a_cause_has_no_secrets() -> None:
    assert "hunter2" not in judge(ValueError("password=hunter2"), in_then=True).cause
    assert CommandFailed.exit_code == 3
