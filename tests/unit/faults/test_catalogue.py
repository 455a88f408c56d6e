"""The catalogue as data: well formed, complete over the scenarios, and cut to a third by a rule."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from faults.catalogue import FAULTS, chosen, killers, part, third
from faults.fault import APPLIED, HEALTHY, OTHER, PRELUDE, READY, Fault
from faults.scenarios import SLOW, read_only, scenarios
from targets.errors import UsageError
from tests.live.cases.healthy import VARIATIONS, in_turn

ROOT = Path(__file__).parents[3]
#: Every id of the failure catalogue; F63 is tests/live/test_interruption.py's.
FAILURES = (
    *(f"F{n:02}" for n in range(1, 9)),
    *(f"F{n}" for n in range(10, 24)),
    *(f"F{n}" for n in range(30, 42)),
    *(f"F{n}" for n in range(50, 55)),
    *("F60", "F61", "F62", "F70", "F71", "F72"),
)


def ids(faults: tuple[Fault, ...]) -> list[str]:
    return [fault.id for fault in faults]


def test_catalogue_has_unique_ids_and_at_least_sixty() -> None:
    assert [each for each, count in Counter(ids(FAULTS)).items() if count > 1] == []
    assert len(FAULTS) >= 60


def test_catalogue_has_each_known_failure_as_fault_or_false_alarm() -> None:
    known = {re.match(r"F\d+", each)[0] for each in ids(FAULTS)}  # type: ignore[index]
    known |= {each.id for each in VARIATIONS}
    assert [each for each in FAILURES if each not in known] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
class TestEachFault:
    def test_fault_names_scenarios_that_exist(self, fault: Fault) -> None:
        assert fault.named
        assert {*fault.named, *fault.also} <= set(scenarios())

    def test_fault_names_each_scenario_once(self, fault: Fault) -> None:
        assert len(set(fault.named)) == len(fault.named)
        assert not set(fault.also) & set(fault.red)

    def test_fault_leaves_open_only_what_it_could_ask(self, fault: Fault) -> None:
        assert set(fault.also) <= set(fault.asked(everything=True))

    def test_fault_says_what_must_be_read(self, fault: Fault) -> None:
        assert fault.words
        assert all(word.strip() for word in (*fault.words, *fault.beside, *fault.because))
        assert len(fault.beside) == max(len(fault.red) - 1, 0)

    def test_fault_with_several_undetermined_names_the_cause(self, fault: Fault) -> None:
        assert fault.because or len(fault.undetermined) <= 1

    def test_fault_is_valid_bash(self, fault: Fault) -> None:
        for script in (fault.inject, fault.rollback):
            if isinstance(script, str):
                text = PRELUDE + script
                done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)  # noqa: PLW1510
                assert done.returncode == 0, done.stderr

    def test_fault_asks_what_it_names(self, fault: Fault) -> None:
        assert set(fault.named) <= set(fault.asked())
        assert fault.start in {HEALTHY, APPLIED, READY, OTHER}

    def test_fault_that_only_looks_names_nothing_that_changes(self, fault: Fault) -> None:
        assert not fault.look or set(fault.named) <= set(read_only())


def test_killers_of_each_scenario_are_some() -> None:
    assert [title for title, by in killers().items() if not by] == []


def test_asked_by_a_fault_is_all_read_only_and_what_it_names() -> None:
    fault = next(each for each in FAULTS if each.id == "F02")
    assert set(fault.asked()) == {*read_only(), *fault.named}
    everything = fault.asked(everything=True)
    assert set(everything) > set(fault.asked())
    assert not any(scenarios()[title].rehearses for title in everything)


def test_asked_by_a_fault_of_the_node_concerns_the_node() -> None:
    fault = next(each for each in FAULTS if each.id == "F81")
    assert all("node" in scenarios()[title].tags for title in fault.asked())


def test_asked_before_there_is_a_container_is_what_it_names() -> None:
    for fault in FAULTS:
        if fault.start != HEALTHY:
            assert set(fault.asked(everything=True)) == set(fault.named)


def test_scenarios_that_change_nothing_come_first() -> None:
    order = [scenarios()[title].mutates for title in scenarios()]
    assert order == sorted(order)
    assert sum(order) < len(order) / 2


def test_scenarios_have_the_node_ids_of_the_features() -> None:
    for each in scenarios().values():
        path, _, name = each.nodeid.partition("::")
        assert (ROOT / path).exists()
        assert re.fullmatch(r"test_[a-z0-9_]+", name)


def test_third_kills_every_scenario_that_is_not_slow() -> None:
    few = third()
    killed = killers(few)
    assert [title for title, ids in killed.items() if not ids and title not in SLOW] == []
    assert ids(few) == [each for each in ids(FAULTS) if each in set(ids(few))]


def test_third_asks_no_slow_scenario() -> None:
    assert [fault.id for fault in third() if SLOW & set(fault.asked())] == []


def test_third_is_a_third() -> None:
    assert len(third()) == -(-len(FAULTS) // 3)


def test_third_has_a_headline_for_each_scenario_that_is_not_slow() -> None:
    headlines = {fault.red[0] for fault in third() if fault.red}
    assert headlines == {fault.red[0] for fault in FAULTS if fault.red} - SLOW


def test_third_of_no_faults_is_none() -> None:
    assert third(()) == ()


@pytest.mark.parametrize("of", [1, 2, 5, len(FAULTS) + 1])
def test_part_of_the_catalogue_has_each_fault_once(of: int) -> None:
    parts = [part(FAULTS, f"{number}/{of}") for number in range(1, of + 1)]
    assert sorted(each for few in parts for each in ids(few)) == sorted(ids(FAULTS))
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


#: What is the node's own, or other containers'.
_SHARED = re.compile(r"apparmor_parser|\$repository|\$file|(?<!inside )systemctl|/etc/apparmor")


def test_safe_faults_stay_in_the_container_and_its_configuration() -> None:
    safe = [fault for fault in FAULTS if fault.safe]
    assert len(safe) >= 10
    for fault in safe:
        assert isinstance(fault.inject, str)
        assert not _SHARED.search(fault.inject + fault.rollback), fault.id
        assert not fault.look


def test_in_turn_takes_every_false_alarm() -> None:
    twenty = list(in_turn(20))
    assert len(twenty) == 20
    assert set(twenty) == set(VARIATIONS)
    for each in VARIATIONS:
        text = f"{PRELUDE}{each.make}\n{each.proof}"
        done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)  # noqa: PLW1510
        assert done.returncode == 0, (each.id, done.stderr)
