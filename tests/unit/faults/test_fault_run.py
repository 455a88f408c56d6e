"""Injecting, asking, and comparing what came with what must."""

import pytest
from msgspec.structs import replace

from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.verdict.record import Outcome, Verdict
from proof.faults import run
from proof.faults.fault import COMPLIANT, RED, UNDETERMINED, Fault
from proof.faults.run import compare
from proof.faults.scenarios import scenarios
from tests.doubles.answering import Answering

FAULT = Fault(
    "F99",
    "daemon.json is not JSON",
    "true",
    red={"installed": ("of {ctid}: line 3", "column 7"), "mount": ("no mount in {ctid}",)},
    undetermined={"settings": ("is not JSON",)},
    also=("hello",),
)


def outcome(verdict: str, cause: str = "") -> Outcome:
    return Outcome("", "", verdict=Verdict(verdict), cause=cause)


AS_EXPECTED = {
    "installed": outcome(RED, "daemon.json of 950: line 3\ncolumn 7"),
    "mount": outcome(RED, "there is no mount in 950\nat all"),
    "settings": outcome(UNDETERMINED, "cannot tell:\nit is not JSON"),
    "driver": outcome(COMPLIANT),
}


def wrong(fault: Fault, found: dict[str, Outcome], ctid: int = 950) -> list[str]:
    """Return the scenarios whose outcome is not as the fault says."""
    problems = compare(fault, found, ctid)
    return [n for n in scenarios() if any(repr(scenarios()[n].title) in each for each in problems)]


@pytest.mark.parametrize(
    ("name", "found", "fine"),
    [
        # the verdict is another one
        ("installed", outcome(COMPLIANT, AS_EXPECTED["installed"].cause), False),
        ("driver", outcome(RED, "Docker is down\nand more"), False),
        ("driver", outcome(Verdict.NOT_APPLICABLE), False),
        ("settings", outcome(RED, "it is not JSON"), False),
        # a scenario that may fail, too
        ("hello", outcome(RED, "down"), True),
        ("hello", outcome(COMPLIANT), True),
        # a word is missing: anywhere, or in the first line
        ("installed", outcome(RED, "daemon.json of 950: line 3"), False),
        ("installed", outcome(RED, "exit 125\ndaemon.json of 950: line 3 column 7"), False),
        ("settings", outcome(UNDETERMINED, "JSONDecodeError"), False),
    ],
)
def test_compare_finds_what_is_not_as_the_fault_says(name: str, found: Outcome, fine: bool) -> None:
    assert wrong(FAULT, AS_EXPECTED) == []
    assert wrong(FAULT, AS_EXPECTED | {name: found}) == ([] if fine else [name])


def test_compare_passes_over_what_was_red_without_the_fault() -> None:
    found = AS_EXPECTED | {"driver": outcome(RED, "another one")}
    assert compare(FAULT, found, before={"driver": outcome(RED)}) == []
    for before in ({}, {"driver": outcome(UNDETERMINED)}, {"driver": outcome(COMPLIANT)}):
        assert len(compare(FAULT, found, before=before)) == 1


def test_inject_that_fails_names_the_fault() -> None:
    with pytest.raises(CommandFailed) as failed:
        run.inject(FAULT, Answering(lambda _: (1, b"", b"no")))
    assert f"fault {FAULT.id} had no effect" in str(failed.value)


@pytest.mark.parametrize(
    ("fault", "asks"),
    [
        (FAULT, False),
        (replace(FAULT, mark="test -e /mark"), True),
        (replace(FAULT, inject="restart\nwrap /usr/sbin/pct '*' 'exit 1'"), True),
    ],
)
def test_unmarked_is_a_fault_whose_mark_is_due_and_missing(fault: Fault, asks: bool) -> None:
    assert run.unmarked(fault, Answering(lambda _: b"")) == []
    problems = run.unmarked(fault, Answering(lambda _: (1, b"", b"")))
    assert ["had no effect" in each for each in problems] == [True] * asks
