"""The catalogue: rows well formed, complete over the scenarios, with parts and samples by hash."""

import re
import subprocess

import pytest

from docker_lxc_gate.errors import UsageError
from proof.faults.catalogue import BY_ID, FAULTS, SLOW, part, sample
from proof.faults.fault import HEALTHY, HELPER, PRELUDE, RED, UNDETERMINED
from proof.faults.scenarios import read_only, scenarios
from tests.doubles.samples import ROOT
from tests.live.cases.healthy import VARIATIONS

#: What is the node's own, or other containers'.
SHARED = re.compile(
    r"apparmor_parser|\$(repository|file|profiles|dump|tunable|setup|install)|auditctl|/etc/lxc|/dev/fuse$"
    r"|(?<!inside )systemctl|/etc/apparmor|(^|; )(save|save_profiles|load|rule|wrap)\b",
    re.MULTILINE,
)
DAYS = [f"2026-12-{day:02}" for day in range(1, 8)]


def test_scenario_of_the_features_has_one_id_of_its_own() -> None:
    texts = [path.read_text() for path in (ROOT / "features").glob("*.feature")]
    assert len(scenarios()) == sum(text.count("\n  Scenario") for text in texts)
    titles = {scenario.title for scenario in scenarios().values()}
    assert len(titles) == len(scenarios())


def test_rows_are_well_formed() -> None:
    """The types of ``Fault`` have checked the keys and values."""
    assert len(BY_ID) == len(FAULTS)
    for fault in FAULTS:
        assert {*fault.expect, *fault.also} <= set(scenarios()), fault.id
        assert tuple(fault.expect) == (*fault.expected(RED), *fault.expected(UNDETERMINED)) != ()
        words = [word for wanted in fault.expect.values() for word in wanted.words or [""]]
        assert all(word.strip() for word in words), fault.id
        assert set(fault.also) <= set(fault.asked(everything=True)) - set(fault.expected(RED))
        assert not fault.look or set(fault.asked(everything=True)) <= set(read_only()), fault.id
        assert bool(fault.inject) != bool(fault.image), fault.id
        plan = [scenarios()[name] for name in fault.expect if name != "root"]
        assert all(scenario.is_of(fault.plan) for scenario in plan), fault.id
        if fault.start not in (HEALTHY, HELPER):  # before there is a container
            assert set(fault.asked(everything=True)) == set(fault.expect)
    scripts = [f"{each.inject}\n{each.rollback}\n{each.effect}" for each in FAULTS]
    scripts += [f"{each.make}\n{each.proof}" for each in VARIATIONS]
    argv, text = ["bash", "-n"], PRELUDE + "".join(f"{{ :\n{each}\n}}\n" for each in scripts)
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_faults_with_a_rollback_stay_in_the_container_and_its_configuration() -> None:
    safe = [fault for fault in FAULTS if fault.rollback]
    assert len(safe) >= 30
    for fault in safe:
        assert not SHARED.search(fault.inject + fault.rollback), fault.id
        assert (fault.start, fault.look) == (HEALTHY, False), fault.id


def test_every_scenario_has_a_fault() -> None:
    killed = {name for fault in FAULTS for name in fault.kills}
    assert set(scenarios()) - killed == set()


def test_asked_by_a_fault_is_all_read_only_within_its_reach_and_what_it_names() -> None:
    both = BY_ID["F02"]
    assert set(both.asked()) == {*read_only(), *both.expect}
    everything = both.asked(everything=True)
    assert set(everything) > set(both.asked())
    assert not any(scenarios()[name].rehearses for name in everything)
    assert all("node" in scenarios()[name].tags for name in BY_ID["F81"].asked())
    assert not any("default_plan" in scenarios()[name].tags for name in BY_ID["F91-hidden"].asked())


@pytest.mark.parametrize("day", DAYS)
def test_sample_of_a_day_kills_each_scenario_that_is_not_slow(day: str) -> None:
    few = sample(day)
    assert few == sample(day, reversed(FAULTS))[::-1]
    assert set(scenarios()) - {name for fault in few for name in fault.kills} == SLOW
    assert [fault.id for fault in few if SLOW & set(fault.asked())] == []
    assert 20 <= len(few) <= 40


@pytest.mark.parametrize("of", [1, 2, 5])
def test_parts_have_each_fault_once_and_keep_it_if_a_row_is_new(of: int) -> None:
    parts = [part(f"{number}/{of}") for number in range(1, of + 1)]
    assert sorted(fault.id for few in parts for fault in few) == sorted(BY_ID)
    assert all(len(few) > len(FAULTS) / of / 2 for few in parts)
    before = part(f"1/{of}", FAULTS[1:])
    assert [fault for fault in parts[0] if fault is not FAULTS[0]] == [*before]


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "٣/٤", "1/99999"])
def test_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        part(text)
    assert "N/M" in str(refused.value)
