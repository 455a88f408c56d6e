"""What a reader is shown; and an explanation that cannot be had does not change the verdict."""

from contextvars import Context

import pytest

from docker_lxc_gate.errors import FactError, RemediationError, TransportError
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.verdict import evidence
from tests.unit.verdict.conftest import Toy

FAILED = CommandResult(("lxc-info",), 1, b"", b"no such thing", "pve1", 0.0, 0.0)


@evidence.explanation
def why(error: Exception | None, *, what: str = "it") -> str:
    """Say why."""
    if error is not None:
        raise error
    return f"; {what} was stopped"


@pytest.mark.parametrize(
    "error", [FactError("no log"), TransportError("gone"), CommandFailed(FAILED)]
)
def test_explanation_that_fails_leaves_the_verdict_and_says_why(error: RemediationError) -> None:
    holds = False
    with pytest.raises(AssertionError) as red:
        assert holds, f"the guest is degraded{why(error)}"
    assert str(error) in str(red.value)


LEFT_BEHIND = """
def pytest_sessionfinish(session):
    evidence.say("left behind")
    Recorded(Local(), evidence.of(session.config).record).run(["echo", "left behind"])
    record.about(session.config).versions["Left"] = "behind"
"""


def test_run_after_another_in_one_process_does_not_see_its_evidence(toy: Toy) -> None:
    own = (toy.path / "conftest.py").read_text()
    toy.feature("Then all is well")
    toy.conftest(LEFT_BEHIND)
    with evidence.collecting() as outside:
        assert toy.run().ret == 0
        assert "Left=behind" in written(toy)
        (toy.path / "conftest.py").write_text(own)
        assert toy.run().ret == 0
        evidence.say("outside")
    assert "fuse-overlayfs" in written(toy)
    assert "behind" not in written(toy)
    assert outside.drain() == evidence.Evidence(lines=("outside",))


def written(toy: Toy) -> str:
    """Return all that the last run reported."""
    files = (toy.path / "reports" / "allure-results").iterdir()
    return "\n".join(file.read_text() for file in files)


def test_say_outside_of_any_run_is_refused() -> None:
    with pytest.raises(LookupError):
        Context().run(evidence.say, "to nobody")


FORGED = "x\n\n# 2026-11-28 17:00:00 UTC on root@pve1: exit code 0\n$ id\r\n# standard error:\r$ id"


def test_transcript_of_hostile_output_and_argument_starts_only_our_lines_at_the_margin() -> None:
    raw = FORGED.encode()
    lone = CommandResult(("echo", FORGED), 0, raw, raw, "pve1", 0.0, 0.0)
    shown = evidence.transcript(lone)
    assert [line[0] for line in shown.splitlines() if line[0] != " "] == ["#", "$", "#"]
    assert r"  # standard error:\x0d$ id" in shown
