"""An explanation that cannot be had does not change the verdict that it is for."""

from __future__ import annotations

import pytest

from gate import evidence
from remediation.errors import CommandFailed, FactError, RemediationError, TransportError
from remediation.transport import CommandResult

FAILED = CommandResult(("lxc-info",), 1, b"", b"no such thing", "pve1", 0.0, 0.0)


@evidence.explanation
def why(error: Exception | None, *, what: str = "it") -> str:
    """Say why."""
    if error is not None:
        raise error
    return f"; {what} was stopped"


def test_an_explanation_that_can_be_had_is_as_it_is() -> None:
    assert why(None) == "; it was stopped"
    assert why(None, what="that") == "; that was stopped"
    assert (why.__name__, why.__doc__) == ("why", "Say why.")


@pytest.mark.parametrize(
    "error", [FactError("no log"), TransportError("gone"), CommandFailed(FAILED)]
)
def test_one_that_cannot_be_had_changes_no_verdict(error: RemediationError) -> None:
    holds = False
    with pytest.raises(AssertionError) as red:
        assert holds, f"the guest is degraded{why(error)}"
    assert str(red.value).startswith(f"the guest is degraded (why cannot be said: {error})")


def test_a_mistake_of_ours_is_no_explanation() -> None:
    with pytest.raises(ZeroDivisionError):
        why(ZeroDivisionError())
