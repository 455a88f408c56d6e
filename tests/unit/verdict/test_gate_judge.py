"""What each kind of exception means."""

import pytest

from docker_lxc_gate import errors
from docker_lxc_gate.verdict import verdicts
from docker_lxc_gate.verdict.verdicts import Judgement, Verdict, judge
from remediation.engine.errors import RollbackFailed, VerifyFailed

_, NOT_COMPLIANT, UNDETERMINED, *_ = Verdict


class Odd(errors.RemediationError):
    """Ends with a code that is none of the gate's."""

    exit_code = 99


@pytest.mark.parametrize(
    ("error", "in_then", "verdict", "code", "cause"),
    [
        (AssertionError(), True, NOT_COMPLIANT, 1, "the assertion fails"),
        (pytest.fail.Exception("no"), False, UNDETERMINED, 3, "Failed: no"),
        (pytest.skip.Exception("no log"), False, UNDETERMINED, 3, "skipped: no log"),
        (ValueError(), True, UNDETERMINED, 3, "ValueError"),
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
    assert judge(error, in_then=in_then) == Judgement(verdict, code, cause)
    group = BaseExceptionGroup("", [pytest.skip.Exception("x"), error])
    assert judge(group, in_then=in_then).code == verdicts.first({3, code})
    nested = BaseExceptionGroup("", [group, RollbackFailed([])])
    assert judge(nested, in_then=in_then).code == verdicts.first({5, code})


def test_first_takes_codes_by_their_rank() -> None:
    ranked = [*verdicts.PRECEDENCE]
    assert ranked == [2, 5, 1, 6, 4, 3, 0]
    assert [verdicts.first({*ranked[n:]}) for n in range(8)] == [*ranked, verdicts.HOLDS]


def test_judge_masks_secrets_in_the_cause() -> None:
    assert "hunter2" not in judge(ValueError("password=hunter2"), in_then=True).cause
