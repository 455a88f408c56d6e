"""The catalogue as data: well formed, complete over the scenarios, with a sample by a rule."""

import re
import subprocess
from collections.abc import Iterable

import pytest

from docker_lxc_gate.errors import UsageError
from proof.faults.catalogue import FAULTS, SLOW, chosen, part, sample
from proof.faults.fault import HEALTHY, HELPER, PRELUDE, RED, UNDETERMINED, Fault
from proof.faults.scenarios import read_only, scenarios
from tests.doubles.samples import ROOT
from tests.live.cases.healthy import VARIATIONS, in_turn

BY_ID = {fault.id: fault for fault in FAULTS}
#: Every number of the failure catalogue; F63 is tests/live/test_interruption.py's.
FAILURES = [*range(1, 9), *range(10, 24), *range(30, 42), *range(50, 55), 60, 61, 62, 70, 71, 72]
#: What is the node's own, or other containers'.
SHARED = re.compile(
    r"apparmor_parser|\$(repository|file|profiles|dump|tunable|setup|install)|auditctl|/etc/lxc|/dev/fuse$"
    r"|(?<!inside )systemctl|/etc/apparmor|(^|; )(save|save_profiles|put_back|load|rule)\b",
    re.MULTILINE,
)


def ids(faults: tuple[Fault, ...]) -> list[str]:
    return [fault.id for fault in faults]


def require_bash(script: str) -> None:
    argv, text = ["bash", "-n"], PRELUDE + script
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_scenario_of_the_features_has_one_id_of_its_own() -> None:
    texts = [path.read_text() for path in (ROOT / "features").glob("*.feature")]
    assert len(scenarios()) == sum(text.count("\n  Scenario") for text in texts)
    titles = {scenario.title for scenario in scenarios().values()}
    assert len(titles) == len(scenarios())


def test_catalogue_has_each_known_failure_as_fault_or_false_alarm() -> None:
    assert len(BY_ID) == len(FAULTS)
    known = {each.partition("-")[0] for each in (*BY_ID, *(each.id for each in VARIATIONS))}
    assert [number for number in FAILURES if f"F{number:02}" not in known] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_fault_is_well_formed(fault: Fault) -> None:
    assert {*fault.expect, *fault.also} <= set(scenarios())
    assert tuple(fault.expect) == (*fault.expected(RED), *fault.expected(UNDETERMINED)) != ()
    assert all(word.strip() for wanted in fault.expect.values() for word in wanted.words or [""])
    assert set(fault.also) <= set(fault.asked(everything=True)) - set(fault.expected(RED))
    assert not fault.look or set(fault.expect) <= set(read_only())
    assert bool(fault.inject) != bool(fault.image)
    for script in (fault.inject, fault.rollback):
        require_bash(script)


def test_safe_faults_stay_in_the_container_and_its_configuration() -> None:
    safe = [fault for fault in FAULTS if fault.safe]
    assert len(safe) >= 30
    assert safe == [fault for fault in FAULTS if fault.contained]
    for fault in safe:
        assert not SHARED.search(fault.inject + fault.rollback), fault.id
        assert not fault.look


def killers(faults: Iterable[Fault] = FAULTS) -> dict[str, tuple[str, ...]]:
    """Return, for each scenario's id, the ids of the faults that prove that it can fail."""
    faults = tuple(faults)
    return {name: tuple(f.id for f in faults if name in f.kills) for name in scenarios()}


def test_killers_of_each_scenario_are_some() -> None:
    assert [name for name, faults in killers().items() if not faults] == []


def test_asked_by_a_fault_is_all_read_only_within_its_reach_and_what_it_names() -> None:
    both = BY_ID["F02"]
    assert set(both.asked()) == {*read_only(), *both.expect}
    everything = both.asked(everything=True)
    assert set(everything) > set(both.asked())
    assert not any(scenarios()[name].rehearses for name in everything)
    assert all("node" in scenarios()[name].tags for name in BY_ID["F81"].asked())


def test_asked_under_plain_is_every_read_only_scenario_of_plain() -> None:
    asked = set(BY_ID["F90"].asked())
    assert {"layers", "confinement", "in-effect"} < asked < {*read_only()}
    assert not any("default_plan" in scenarios()[name].tags for name in asked)
    assert "container-backup" not in asked
    assert {"denials", "again"} < set(BY_ID["F90"].asked(everything=True))
    assert {"confined", "given"}.isdisjoint(BY_ID["F91-unloaded"].expect)


def test_asked_before_there_is_a_container_is_what_it_names() -> None:
    for fault in FAULTS:
        if fault.start not in (HEALTHY, HELPER):
            assert set(fault.asked(everything=True)) == set(fault.expect)


def test_fault_expects_something_of_scenarios_of_its_plan_alone() -> None:
    for fault in FAULTS:
        named = [scenarios()[name] for name in fault.expect if name != "root"]
        assert [each.title for each in named if not each.is_of(fault.plan)] == [], fault.id


def test_sample_kills_each_scenario_that_is_not_slow() -> None:
    few = sample()
    assert ids(few) == [fault.id for fault in FAULTS if fault in few]
    assert {name for name, faults in killers(few).items() if not faults} == SLOW
    assert [fault.id for fault in few if SLOW & set(fault.asked())] == []
    assert len(few) < len(scenarios()), "one fault kills several"
    for fault in few:
        others = [other for other in few if other is not fault]
        alone = [name for name in fault.kills if not killers(others)[name]]
        assert alone, f"{fault.id} kills what others kill anyway"


@pytest.mark.parametrize("of", [1, 2, 5, len(FAULTS) + 1])
def test_part_of_the_catalogue_has_each_fault_once(of: int) -> None:
    parts = [part(FAULTS, f"{number}/{of}") for number in range(1, of + 1)]
    assert sorted(each for few in parts for each in ids(few)) == sorted(BY_ID)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "٣/٤", "1/99999"])
def test_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        part(FAULTS, text)
    assert "N/M" in str(refused.value)


def test_chosen_takes_ids_and_patterns() -> None:
    assert chosen(()) == FAULTS
    assert ids(chosen(["F16*", "F01"])) == ["F01", "F16", "F16-denied"]
    with pytest.raises(UsageError) as refused:
        chosen(["F01", "F99"])
    assert "F99" in str(refused.value)


def test_in_turn_takes_every_false_alarm() -> None:
    assert len(list(in_turn(50))) == 50
    assert tuple(in_turn(len(VARIATIONS))) == VARIATIONS
    for variation in VARIATIONS:
        require_bash(f"{variation.make}\n{variation.proof}")
