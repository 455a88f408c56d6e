"""Every way a scenario can end, with the exit code, the word and Allure's status it must have."""

from tests.unit.verdict.conftest import Toy

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


def test_scenario_in_each_way_it_can_end_has_its_verdict(toy: Toy) -> None:
    for number, (_, _, *sentences) in enumerate(_ENDS):
        toy.feature(*sentences, name=f"{number:02}", tags="@req:VAL-2")
    seen = toy.run()
    assert {each["name"]: each["status"] for each in toy.results()} == {
        f"{number:02}": status for number, (_, status, *_) in enumerate(_ENDS)
    }
    seen.stdout.fnmatch_lines(
        [f"VAL-2 * {number:02} * {verdict} *" for number, (verdict, *_) in enumerate(_ENDS)]
    )


def test_scenario_with_a_failing_set_up_is_undetermined(toy: Toy) -> None:
    toy.feature("Then all is well")
    toy.conftest("\n@pytest.fixture(autouse=True)\ndef first(odd): pass\n")
    assert toy.run().ret == 3
    [result] = toy.results()
    assert (result["name"], result["status"]) == ("toy", _BROKEN)


def test_gate_tells_verdicts_causes_and_evidence_without_the_code_of_steps(toy: Toy) -> None:
    toy.feature("Then an assertion in a Then", name="a")
    toy.feature("Then an error in a Then", name="b")
    toy.feature("Then all is well", 'And the value is "4 layers"', name="c")
    toy.feature("Then a skip in a Then", name="d")
    seen = toy.run()
    assert seen.ret == 1
    seen.stdout.fnmatch_lines(
        [
            "* a * not compliant * the driver is overlay2",
            "* c * compliant * the driver is fuse-overlayfs; 4 layers",
            "* d * undetermined * skipped: no audit log here",
            "a: not compliant (features/a.feature:4)",
            "  Then an assertion in a Then",
            "  the driver is overlay2",
            "d: undetermined (features/d.feature:4)",
            "verdict: not compliant (1 compliant, 1 not compliant, 2 undetermined)",
        ]
    )
    seen.stdout.no_fnmatch_line("*conftest.py*")
    seen.stdout.no_fnmatch_line("*FAILURES*")


def test_gate_with_v_shows_the_way_to_an_error(toy: Toy) -> None:
    toy.feature("Then an error in a Then")
    toy.run("-v").stdout.fnmatch_lines(["*FAILURES*", "conftest.py:*: in raises", "*FactError*"])
