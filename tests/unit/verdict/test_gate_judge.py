"""What each kind of exception means, and when the function of a Then is what runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate import errors
from docker_lxc_gate.verdict import verdicts
from docker_lxc_gate.verdict.verdicts import Finding, Verdict, judge
from remediation.engine.errors import RollbackFailed, VerifyFailed

COMPLIANT, NOT_COMPLIANT, UNDETERMINED = Verdict


class Odd(errors.RemediationError):
    """Ends with a code that is none of the gate's."""

    exit_code = 99


@pytest.mark.parametrize(
    ("error", "in_then", "verdict", "code", "cause"),
    [
        (AssertionError("the driver"), True, NOT_COMPLIANT, 1, "the driver"),
        (AssertionError(), True, NOT_COMPLIANT, 1, "the assertion fails"),
        (pytest.fail.Exception("no"), True, NOT_COMPLIANT, 1, "no"),
        (AssertionError("odd"), False, UNDETERMINED, 3, "AssertionError: odd"),
        (pytest.fail.Exception("no"), False, UNDETERMINED, 3, "Failed: no"),
        (pytest.skip.Exception("no log"), True, UNDETERMINED, 3, "skipped: no log"),
        (pytest.skip.Exception("no log"), False, UNDETERMINED, 3, "skipped: no log"),
        (ValueError("x"), True, UNDETERMINED, 3, "ValueError: x"),
        (ValueError(), True, UNDETERMINED, 3, "ValueError"),
        (errors.FactError("f"), True, UNDETERMINED, 3, "f"),
        (errors.TransportError("t"), False, UNDETERMINED, 3, "t"),
        (VerifyFailed("v"), False, NOT_COMPLIANT, 1, "v"),
        (VerifyFailed("v"), True, NOT_COMPLIANT, 1, "v"),
        (errors.UsageError("u"), True, UNDETERMINED, 2, "u"),
        (RollbackFailed([]), True, UNDETERMINED, 5, str(RollbackFailed([]))),
        (Odd("o"), True, UNDETERMINED, 3, "o"),
        (KeyboardInterrupt(), True, UNDETERMINED, 3, "KeyboardInterrupt"),
    ],
)
def test_judge_of_an_exception_finds(
    error: BaseException, in_then: bool, verdict: Verdict, code: int, cause: str
) -> None:
    assert judge(error, in_then=in_then) == Finding(verdict, code, cause)
    group = BaseExceptionGroup("", [pytest.skip.Exception("x"), error])
    assert judge(group, in_then=in_then).code == verdicts.first({3, code})
    nested = BaseExceptionGroup("", [group, RollbackFailed([])])
    assert judge(nested, in_then=in_then).code == verdicts.first({5, code})


def test_finding_without_an_exception_is_compliant() -> None:
    assert Finding() == Finding(COMPLIANT, 0, "")
    assert [str(each) for each in Verdict] == ["compliant", "not compliant", "undetermined"]


def test_first_takes_codes_by_their_rank() -> None:
    ranked = [
        verdicts.USAGE,
        verdicts.NOT_EXACT,
        verdicts.DIFFERS,
        verdicts.INCOMPLETE,
        verdicts.UNKNOWN,
        verdicts.HOLDS,
    ]
    assert ranked == list(verdicts.PRECEDENCE) == [2, 5, 1, 6, 3, 0]
    for n, code in enumerate(ranked):
        assert verdicts.first(set(ranked[n:])) == code
    assert verdicts.first(set()) == verdicts.HOLDS


def test_judge_masks_secrets_in_the_cause() -> None:
    assert "hunter2" not in judge(ValueError("password=hunter2"), in_then=True).cause


class Item:
    """An item of pytest's, as far as a step is noted on it."""

    def __init__(self) -> None:
        self.stash = pytest.Stash()
        self.request: Any = SimpleNamespace(node=self)

    def before(self, kind: str) -> None:
        step: Any = SimpleNamespace(type=kind)
        verdicts.pytest_bdd_before_step(self.request, step)


@pytest.mark.parametrize(("kind", "judges"), [("then", True), ("when", False), ("given", False)])
def test_in_then_holds_in_the_function_of_a_then_alone(kind: str, judges: bool) -> None:
    item: Any = Item()
    assert not verdicts.in_then(item)
    item.before(kind)
    assert not verdicts.in_then(item)  # its fixtures are set up
    verdicts.pytest_bdd_before_step_call(item.request)
    assert verdicts.in_then(item) is judges
    verdicts.pytest_bdd_after_step(item.request)
    assert not verdicts.in_then(item)
