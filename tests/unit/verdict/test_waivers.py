"""Waivers: accepted for a time, told everywhere, and never a quiet green."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.verdict.waivers import Waiver
from tests.unit.verdict.conftest import Toy

TODAY = datetime.now(UTC).date()
#: Midnight may come while the tests run.
UNTIL, PAST = TODAY + timedelta(1), TODAY - timedelta(1)
FINE = {"reason": "PBS keeps the backups", "owner": "ops", "expires": UNTIL}


def waive(toy: Toy, *waivers: dict[str, Any]) -> tuple[str, ...]:
    """Write a file of waivers, and return the option that names it."""
    text = ""
    for each in waivers:
        lines = (f"{key} = {_toml(value)}" for key, value in (FINE | each).items())
        text += "\n".join(["[[waiver]]", *lines, ""])
    (toy.path / "waivers.toml").write_text(text)
    return ("--waivers", "waivers.toml")


def _toml(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else str(value)


def uses(toy: Toy) -> list[str]:
    return [each["use"] for each in toy.verdict()["waivers"]]


@pytest.fixture
def red(toy: Toy) -> Toy:
    """A scenario that is not compliant, and one that is."""
    toy.feature("Then an assertion in a Then", name="a", tags="@id:driver @req:VAL-2")
    toy.feature("Then all is well", name="b", tags="@id:hello @req:VAL-3")
    return toy


@pytest.mark.parametrize("by", [{"requirement": "VAL-2"}, {"scenario": "driver", "target": "*"}])
def test_waived_red_scenario_ends_with_0_and_stays_red(red: Toy, by: dict[str, str]) -> None:
    done = red.run(*waive(red, by))
    whole = red.verdict()
    assert (done.ret, uses(red)) == (0, ["matched"])
    assert whole["verdict"] == "compliant, but for what is waived"
    (driver, _) = whole["scenarios"]
    assert (driver["verdict"], driver["code"]) == ("not compliant", 1)
    clauses = {each["id"]: each for each in whole["requirements"]}
    assert (clauses["VAL-2"]["verdict"], clauses["VAL-2"]["waived"]) == ("not compliant", True)
    assert not clauses["VAL-3"]["waived"]
    said = done.stdout.str()
    assert "(1 compliant, 1 not compliant (waived))" in said
    assert f"matched, until {UNTIL} by ops: PBS keeps the backups" in said
    assert "the driver is overlay2; waived until" in " ".join(said.split())
    junit = (red.path / "reports/junit.xml").read_text()
    assert 'failures="0" errors="0" skipped="1"' in junit
    assert f"not compliant, waived until {UNTIL} by ops" in junit
    (result,) = [each for each in red.results() if each["name"] == "a (waived)"]
    assert {"name": "tag", "value": "waived"} in result["labels"]
    assert {"name": "owner", "value": "ops"} in result["labels"]
    assert result["statusDetails"]["known"] is True
    assert result["description"].startswith(f"Waived until {UNTIL} by ops")


@pytest.mark.parametrize(
    ("waiver", "use", "code"),
    [
        ({"requirement": "VAL-2", "expires": PAST}, "expired", 4),
        ({"requirement": "VAL-3", "target": ""}, "no longer needed", 1),
        ({"requirement": "VAL-5"}, "unused", 1),
        ({"scenario": "driver", "target": "root@pve2/*"}, "unused", 1),
        ({"scenario": "drive"}, "unused", 1),
    ],
)
def test_waiver_that_does_not_hold_waives_nothing_and_is_told(
    red: Toy, waiver: dict[str, Any], use: str, code: int
) -> None:
    done = red.run(*waive(red, waiver))
    assert (done.ret, uses(red)) == (code, [use])
    assert "waived" not in red.verdict()["verdict"]
    assert not any(each.get("statusDetails", {}).get("known") for each in red.results())
    assert f": {use}, until" in done.stdout.str()


@pytest.mark.parametrize(
    "waiver", [{"scenario": "hello", "target": ""}, {"scenario": "x", "expires": PAST}]
)
def test_waiver_of_a_compliant_run_ends_with_4(toy: Toy, waiver: dict[str, Any]) -> None:
    toy.feature("Then all is well", name="b", tags="@id:hello @req:VAL-3")
    assert toy.run(*waive(toy, waiver)).ret == 4
    assert toy.verdict()["verdict"] == "a waiver does not hold"
    assert 'errors="1"' in (toy.path / "reports/junit.xml").read_text()


def test_waived_clause_with_another_scenario_that_is_undetermined_is_undetermined(red: Toy) -> None:
    red.feature("Then an error in a Then", name="c", tags="@id:other @req:VAL-2")
    assert red.run(*waive(red, {"scenario": "driver"})).ret == 3
    clauses = {each["id"]: each for each in red.verdict()["requirements"]}
    assert (clauses["VAL-2"]["verdict"], clauses["VAL-2"]["waived"]) == ("undetermined", False)


def test_waiver_of_a_shared_cause_waives_nothing(toy: Toy) -> None:
    toy.conftest("""
@pytest.fixture(scope="session")
def machine():
    raise errors.Unreachable("root@pve1 does not answer")
""")
    toy.feature("Given a target", "Then all is well", name="b", tags="@req:VAL-5")
    assert toy.run(*waive(toy, {"requirement": "VAL-5"})).ret == 3


@pytest.mark.parametrize(
    ("sentences", "clauses", "code"),
    [
        (["Then a clean-up that fails", "Then an assertion in a Then"], "@req:VAL-2", 1),
        (["Then a clean-up that fails"], "@req:VAL-2", 3),
        (["Then no machine answers"], "@req:VAL-2", 3),
        (["Then a rollback that fails"], "@req:VAL-2", 5),
        (["Then an interrupt in a Then"], "@req:VAL-2", 130),
        (["Then an assertion in a Then"], "@req:VAL-2 @req:BACK-1", 1),
    ],
)
def test_waiver_of_a_scenario_that_ends_otherwise_than_red_waives_nothing(
    toy: Toy, sentences: list[str], clauses: str, code: int
) -> None:
    toy.conftest("""
@then("no machine answers")
def _():
    raise ExceptionGroup("both", [errors.TransportError("it does not answer")])
""")
    toy.feature(*sentences, name="a", tags=f"@id:driver {clauses}")
    assert (toy.run(*waive(toy, {"scenario": "driver"})).ret, uses(toy)) == (code, ["unused"])
    assert toy.verdict()["scenarios"][0]["waiver"] is None


def test_waiver_of_scenarios_that_were_asked_in_part_may_still_be_needed(toy: Toy) -> None:
    for name in "bc":
        toy.feature("Then all is well", name=name, tags="@req:VAL-3")
    option = waive(toy, {"requirement": "VAL-3", "target": ""})
    assert (toy.run(*option, "-k", "test_b").ret, uses(toy)) == (0, ["unused"])
    assert (toy.run(*option).ret, uses(toy)) == (4, ["no longer needed"])


def test_waiver_twice_is_refused(toy: Toy) -> None:
    toy.compliant("b")
    toy.apart = True
    option = waive(toy, {"requirement": "VAL-3"})
    assert toy.run(*option, *option).ret == 2


def test_waived_scenario_beside_an_ordinary_test_that_fails_is_not_compliant(red: Toy) -> None:
    (red.path / "features/test_x.py").write_text("def test_x(): assert not 'x'")
    assert red.run(*waive(red, {"scenario": "driver"})).ret == 1
    assert "a test that is no scenario failed" in red.verdict()["problems"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[waiver]]\nrequirement = "VAL-2"\nowner = "me"\n', "line 1: Object missing required"),
        ('reason = ""\nowner = "me"\nexpires = 2027-01-31\n', "line 3: reason: is empty"),
        ('reason = "x"\nowner = " "\nexpires = 2027-01-31\n', "line 4: owner: is empty"),
        ('reason = "x"\nowner = "me"\nexpires = "soon"\n', "line 5: expires: "),
        ('scenario = "x"\nreason = "x"\nowner = "me"\nexpires = 2027-01-31\n', "write either"),
        (' [[ waiver ]]\nreason = "r"\n[[waiver]]\nscenario = "x"\n', "line 1: Object missing"),
    ],
)
def test_waivers_with_a_wrong_key_or_date_are_refused(tmp_path: Path, text: str, said: str) -> None:
    head = "" if "[" in text else '[[waiver]]\nrequirement = "VAL-2"\n'
    (tmp_path / "waivers.toml").write_text(head + text)
    with pytest.raises(UsageError) as error:
        target_file.several(tmp_path / "waivers.toml", "waiver", Waiver)
    assert str(error.value).startswith(f"{tmp_path}/waivers.toml")
    assert said in str(error.value)


def test_waiver_of_the_rollback_is_refused() -> None:
    with pytest.raises(ValueError, match="BACK-1: a rollback must be exact"):
        Waiver(requirement="BACK-1", **FINE)


def test_waiver_holds_to_the_end_of_its_last_day() -> None:
    waiver = Waiver(scenario="driver", reason="x", owner="ops", expires=TODAY)
    assert (waiver.holds_on(TODAY), waiver.holds_on(UNTIL)) == (True, False)
