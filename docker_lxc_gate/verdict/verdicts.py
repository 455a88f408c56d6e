"""From the exception of a scenario to its verdict.

An assertion in a Then means *not compliant*: the target was examined, and differs. Any other
exception means *undetermined*: after an assertion in a Given, a When or a fixture, the scenario
could not be judged. A skipped scenario is undetermined, too, with its reason. Errors of
:mod:`remediation` have their own meaning: ``VerifyFailed`` is a difference (exit code 1),
``UsageError`` (2) ends the run.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from docker_lxc_gate.commandline.output import written
from docker_lxc_gate.errors import RemediationError, TransportError
from docker_lxc_gate.machines.process import ended_as_by_ctrl_c, interrupted_by
from docker_lxc_gate.printable import one_line, printable
from docker_lxc_gate.verdict.collection import ExitCodes, expected
from docker_lxc_gate.verdict.evidence import redact
from docker_lxc_gate.verdict.record import (
    DIFFERS,
    HOLDS,
    INTERRUPTED,
    MOST,
    PRECEDENCE,
    UNKNOWN,
    USAGE,
    Verdict,
)
from docker_lxc_gate.verdict.waivers import GIVEN

if TYPE_CHECKING:
    from pytest_bdd.parser import Step

    from docker_lxc_gate.verdict.record import Outcome
    from docker_lxc_gate.verdict.waivers import Waiver


class Unanswerable(Exception):
    """The gate cannot judge anything: undetermined, and no scenario was run."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one phase of a scenario (set-up, steps, clean-up), with its cause.

    ``shared``: every scenario with the same session fixture has the same cause.
    """

    verdict: Verdict = Verdict.COMPLIANT
    code: int = HOLDS
    cause: str = ""
    shared: bool = False


def first(codes: set[int]) -> int:
    """Return the code that outranks the others, that of a signal first; 0 if there are none."""
    return next((code for code in (*(codes - {*PRECEDENCE}), *PRECEDENCE) if code in codes), HOLDS)


def judge(error: BaseException, *, in_then: bool) -> Judgement:
    """Return the verdict for an exception, of a group that of the worst one.

    ``in_then`` is whether a Then's own function raised it.
    """
    if isinstance(error, BaseExceptionGroup):
        return _worst(*(judge(member, in_then=in_then) for member in error.exceptions))
    if isinstance(error, pytest.skip.Exception):
        return Judgement(Verdict.UNDETERMINED, UNKNOWN, f"skipped: {error}")
    if isinstance(error, RemediationError):
        code = error.exit_code if error.exit_code in PRECEDENCE else UNKNOWN
        verdict = Verdict.NOT_COMPLIANT if code == DIFFERS else Verdict.UNDETERMINED
        return Judgement(verdict, code, redact(str(error)))
    if in_then and isinstance(error, (AssertionError, pytest.fail.Exception)):
        message = redact(str(error) or "the assertion fails")
        return Judgement(Verdict.NOT_COMPLIANT, DIFFERS, message)
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Judgement(Verdict.UNDETERMINED, UNKNOWN, redact(cause))


#: The running step, and whether its function has been called. Before that its fixtures are set up,
#: and an assertion there is not the step's.
STEP = pytest.StashKey["Step"]()
_CALLED = pytest.StashKey[bool]()
#: The worst judgement of the phases so far.
JUDGEMENT = pytest.StashKey[Judgement]()
#: Whether no waiver counts: its clean-up failed, or nobody could look.
_NO_WAIVER = pytest.StashKey[bool]()
#: The steps' lines of evidence.
SAID = pytest.StashKey[tuple[str, ...]]()
#: Errors of session fixtures; pytest raises the same error for each scenario.
_SHARED = pytest.StashKey[list[BaseException]]()


def in_then(item: pytest.Item) -> bool:
    """Whether a Then's function runs now, or ran last, in this item."""
    return item.stash.get(_CALLED, False) and item.stash[STEP].type == "then"


@pytest.hookimpl(tryfirst=True)
def pytest_bdd_before_step(request: pytest.FixtureRequest, step: Step) -> None:
    """Note the step; its fixtures come next."""
    request.node.stash[STEP], request.node.stash[_CALLED] = step, False


def pytest_bdd_before_step_call(request: pytest.FixtureRequest) -> None:
    """Note that the step's own function is called now."""
    request.node.stash[_CALLED] = True


def pytest_bdd_after_step(request: pytest.FixtureRequest) -> None:
    """Note that the step is over."""
    request.node.stash[_CALLED] = False


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Note an error that several scenarios will share."""
    try:
        return (yield)
    except BaseException as error:
        if fixturedef.scope == "session":
            request.session.stash.setdefault(_SHARED, []).append(error)
        raise


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the phase, and send the judgement along with pytest's own report.

    The innermost wrapper, so that every reporter sees the redacted text.
    """
    report = yield
    if (outcome := expected(item)) is None:
        return report
    judgement = Judgement()
    if call.excinfo is not None:
        error = call.excinfo.value
        shared = any(error is known for known in item.session.stash.get(_SHARED, []))
        judgement = judge(error, in_then=call.when == "call" and in_then(item))
        judgement = replace(judgement, shared=shared)
        if report.failed:
            differs = judgement.verdict is Verdict.NOT_COMPLIANT
            report.longrepr = judgement.cause if differs else redact(report.longreprtext)
        elif isinstance(report.longrepr, tuple):  # a skip: file, line, reason
            report.longrepr = (*report.longrepr[:2], one_line(redact(report.longrepr[2])))
    report.sections = [(name, redact(text)) for name, text in report.sections]
    judgement = item.stash[JUDGEMENT] = _worst(item.stash.get(JUDGEMENT, Judgement()), judgement)
    step = item.stash.get(STEP, None)
    if call.excinfo is not None:
        never = call.when == "teardown" or judgement.shared or _is_unseen(call.excinfo.value)
        item.stash[_NO_WAIVER] = never or item.stash.get(_NO_WAIVER, False)
    report.gate = structs.replace(  # type: ignore[attr-defined]
        outcome,
        where=f"{outcome.where.rpartition(':')[0]}:{step.line_number}" if step else outcome.where,
        step=f"{step.keyword} {step.name}" if step else "",
        **vars(judgement),
        said=item.stash.get(SAID, ())[:MOST],
        waiver=_waiver(item, outcome, judgement),
    )
    if item.stash[JUDGEMENT].code == USAGE:
        item.session.shouldstop = "usage error"
    return report


def _is_unseen(error: BaseException) -> bool:
    """Whether an error says that a machine was not reached, or did not answer."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_unseen, error.exceptions))
    return isinstance(error, TransportError)


def _waiver(item: pytest.Item, outcome: Outcome, judgement: Judgement) -> Waiver | None:
    """Return the waiver for a judgement that lasts longest."""
    if judgement.code not in {DIFFERS, UNKNOWN} or item.stash.get(_NO_WAIVER, False):
        return None
    about = outcome.target, outcome.id, outcome.requirements
    given = (waiver for waiver in item.config.stash.get(GIVEN, ()) if waiver.applies(*about))
    return max(given, key=lambda waiver: waiver.expires, default=None)


def _worst(*judgements: Judgement) -> Judgement:
    return min(judgements, key=lambda judgement: PRECEDENCE.index(judgement.code))


def pytest_exception_interact(call: pytest.CallInfo[Any]) -> None:
    """End the run if collection already finds a usage error, such as a wrong target."""
    error = call.excinfo.value if call.excinfo else None
    if call.when == "collect" and isinstance(error, RemediationError) and error.exit_code == USAGE:
        raise pytest.UsageError(redact(str(error))) from error


class _Ear:
    """Notes a Ctrl-C before the session exists."""

    interrupted = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note it, unless it is one of pytest's own stops."""
        self.interrupted = excinfo.type is KeyboardInterrupt


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> ExitCodes:
    """Replace pytest's exit codes.

    A wrong path, expression, tag or setting: 2 instead of 4. An interrupt before the first scenario
    or after the last one: 130 instead of 2 or a traceback. Output that cannot be written, or a
    plugin that fails: 3, because exit code 1 is a verdict.
    """
    ear = _Ear()
    config.pluginmanager.register(ear)
    try:
        with ended_as_by_ctrl_c(), written():
            code = yield
            early = ear.interrupted and code is pytest.ExitCode.INTERRUPTED
            return (interrupted_by() or INTERRUPTED) if early or code == INTERRUPTED else code
    except Unanswerable as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return UNKNOWN
    except pytest.UsageError as error:
        for line in error.args:
            sys.stderr.write(f"ERROR: {printable(str(line))}\n")
        return USAGE
    except KeyboardInterrupt:
        if not hasattr(config, "workerinput"):  # xdist ends its workers so, at every end of a run
            sys.stderr.write("interrupted\n")
        return interrupted_by() or INTERRUPTED
    except Exception as error:  # noqa: BLE001 - no exception may end as a verdict
        sys.stderr.write(redact(traceback.format_exc()))
        why = one_line(redact(repr(error)))
        sys.stderr.write(f"error: the gate itself failed, which is no verdict: {why}\n")
        return UNKNOWN
