"""What a reader is shown; and an explanation that cannot be had does not change the verdict."""

from contextvars import Context

import pytest

from docker_lxc_gate.errors import FactError, RemediationError, TransportError
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.verdict import evidence

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
