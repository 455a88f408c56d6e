"""What a run ends with: nothing that is missing, broken or interrupted may end in 0."""

from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.verdict.record import Outcome, Verdict
from docker_lxc_gate.verdict.tally import OutcomeTally


def report(nodeid: str, code: int = 0, when: str = "teardown", duration: float = 1.0) -> Any:
    outcome = Outcome(nodeid, nodeid, verdict=Verdict.UNDETERMINED, code=code, cause="c")
    return SimpleNamespace(nodeid=nodeid, gate=outcome, when=when, duration=duration)


def tally(*codes: int) -> OutcomeTally:
    found = OutcomeTally()
    for number, code in enumerate(codes):
        found.take(report(str(number), code))
    return found


@pytest.mark.parametrize(
    ("codes", "exitstatus", "code"),
    [
        ((0, 0), pytest.ExitCode.OK, 0),
        ((), pytest.ExitCode.OK, 3),
        ((), pytest.ExitCode.NO_TESTS_COLLECTED, 3),
        ((0, 1), pytest.ExitCode.TESTS_FAILED, 1),
        ((0, 3), pytest.ExitCode.TESTS_FAILED, 3),
        ((0,), pytest.ExitCode.TESTS_FAILED, 1),
        ((0,), pytest.ExitCode.INTERRUPTED, 6),
        ((3,), pytest.ExitCode.INTERRUPTED, 6),
        ((0,), pytest.ExitCode.INTERNAL_ERROR, 3),
        ((1,), pytest.ExitCode.INTERNAL_ERROR, 1),
    ],
)
def test_code_of_a_tally_is_the_worst(codes: tuple[int, ...], exitstatus: int, code: int) -> None:
    assert tally(*codes).code(exitstatus) == code


def test_tally_with_an_unreadable_file_or_a_missing_scenario_is_incomplete() -> None:
    unreadable, missing = tally(0), tally(0)
    unreadable.unreadable = 1
    missing.expect([Outcome("0", "again"), Outcome("1", "missing")])
    assert [each.title for each in missing.settled()] == ["0", "missing"]
    for found in (unreadable, missing):
        assert found.code(pytest.ExitCode.OK) == 6


def test_tally_takes_the_last_phase_and_the_time_of_all() -> None:
    found = OutcomeTally()
    for when, code in (("setup", 0), ("call", 1), ("teardown", 1)):
        found.take(report("a", code, when, 2.0))
    (outcome,) = found.settled()
    assert (outcome.verdict, outcome.code, outcome.cause) == (Verdict.UNDETERMINED, 1, "c")
    assert outcome.seconds == 6.0
    assert outcome.began <= outcome.ended
