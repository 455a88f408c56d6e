"""From what happened in a scenario to what it means.

An assertion in a Then means *not compliant*: the target was seen, and differs. Any other
exception means *undetermined*: an assertion in a Given, a When or a fixture says that the
question could not be put, not what the answer is. A skipped scenario is undetermined too,
with its reason. Errors of :mod:`remediation` know what they mean: ``VerifyFailed`` is a
difference that was seen (exit code 1), ``UsageError`` (2) ends the run.
"""

from __future__ import annotations

import functools
import sys
import traceback
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from commandline.output import written
from gate.collection import requirements_of, scenario_of, title_of
from gate.evidence import redact
from targets.errors import RemediationError
from targets.printable import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_bdd.parser import Scenario, Step

_HERE = Path(__file__).parent
#: What a session ends with when several codes apply: the first of these. A question put
#: wrongly has no answer. A change left behind outranks every answer. A proven difference
#: outranks a missing result, and that outranks a missing judgement.
USAGE, NOT_EXACT, DIFFERS, INCOMPLETE, UNKNOWN, HOLDS = PRECEDENCE = (2, 5, 1, 6, 3, 0)
#: What a session ends with that the user interrupted, as a shell has it (128 + SIGINT).
INTERRUPTED = 130


class Unanswerable(Exception):
    """The gate cannot answer anything: undetermined, and nothing was asked."""


class Verdict(StrEnum):
    """One of the three words."""

    COMPLIANT = "compliant"
    NOT_COMPLIANT = "not compliant"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True)
class Finding:
    """What one phase of a scenario (set-up, steps, clean-up) came to, and why.

    ``shared``: whoever needs the same fixture of the session meets the same cause.
    """

    verdict: Verdict = Verdict.COMPLIANT
    code: int = HOLDS
    cause: str = ""
    shared: bool = False


def first(codes: set[int]) -> int:
    """Return the code that outranks the others; 0 if there are none."""
    return next((code for code in PRECEDENCE if code in codes), HOLDS)


def judge(error: BaseException, *, in_then: bool) -> Finding:
    """Return what an exception means.

    Args:
        error: what was raised; of a group, what its worst member means.
        in_then: whether a Then's own function raised it.
    """
    if isinstance(error, BaseExceptionGroup):
        found = [judge(each, in_then=in_then) for each in error.exceptions]
        return functools.reduce(_worse, found)
    if isinstance(error, pytest.skip.Exception):
        return Finding(Verdict.UNDETERMINED, UNKNOWN, f"skipped: {error}")
    if isinstance(error, RemediationError):
        code = error.exit_code if error.exit_code in PRECEDENCE else UNKNOWN
        verdict = Verdict.NOT_COMPLIANT if code == DIFFERS else Verdict.UNDETERMINED
        return Finding(verdict, code, redact(str(error)))
    if in_then and isinstance(error, (AssertionError, pytest.fail.Exception)):
        return Finding(Verdict.NOT_COMPLIANT, DIFFERS, redact(str(error) or "the assertion fails"))
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Finding(Verdict.UNDETERMINED, UNKNOWN, redact(cause))


#: The step that is being run, and whether its function has been called: before that, its
#: fixtures are set up, and an assertion there is not the step's.
STEP = pytest.StashKey["Step"]()
_CALLED = pytest.StashKey[bool]()
#: The worst finding of the phases so far.
FINDING = pytest.StashKey[Finding]()
#: What the steps said.
SAID = pytest.StashKey[tuple[str, ...]]()
#: What fixtures of the whole session failed of; pytest raises the same error for each scenario.
_SHARED = pytest.StashKey[list[BaseException]]()


def in_then(item: pytest.Item) -> bool:
    """Whether the function of a Then is what runs, or was the last to run, in this item."""
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
    """Note an error that more than one scenario is going to meet."""
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
    """Judge the phase, and send the finding along with pytest's own report.

    The innermost wrapper, so that every reporter sees the redacted text.
    """
    report = yield
    if (scenario := scenario_of(item)) is None:
        return report
    finding = Finding()
    if call.excinfo is not None:
        error = call.excinfo.value
        shared = any(error is each for each in item.session.stash.get(_SHARED, []))
        finding = judge(error, in_then=call.when == "call" and in_then(item))
        finding = replace(finding, shared=shared)
        if report.failed:
            report.longrepr = _told(finding, call.excinfo, item.config)
        elif isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
            report.longrepr = (*report.longrepr[:2], one_line(redact(report.longrepr[2])))
    report.sections = [(name, redact(text)) for name, text in report.sections]
    item.stash[FINDING] = _worse(item.stash.get(FINDING, Finding()), finding)
    report.gate = _facts(item, scenario)  # type: ignore[attr-defined]
    if report.when == "teardown":
        report.user_properties += [("requirement", each) for each in requirements_of(item)]
        report.user_properties.append(("verdict", str(item.stash[FINDING].verdict)))
    if item.stash[FINDING].code == USAGE:
        item.session.shouldstop = "the question was put wrongly"
    return report


def _worse(before: Finding, now: Finding) -> Finding:
    return min(before, now, key=lambda each: PRECEDENCE.index(each.code))


def _facts(item: pytest.Item, scenario: Scenario) -> dict[str, Any]:
    """Return what the session needs, in plain values: xdist carries these over."""
    finding, step = item.stash[FINDING], item.stash.get(STEP, None)
    line = step.line_number if step else scenario.line_number
    return {
        "title": title_of(item),
        "feature": scenario.feature.name,
        "requirements": requirements_of(item),
        "where": f"{item.nodeid.partition('::')[0]}:{line}",
        "step": f"{step.keyword} {step.name}" if step else "",
        "verdict": str(finding.verdict),
        "code": finding.code,
        "cause": finding.cause,
        "shared": finding.shared,
        "said": item.stash.get(SAID, ()),
    }


def _told(
    finding: Finding, error: pytest.ExceptionInfo[BaseException], config: pytest.Config
) -> str:
    """Return the cause alone where a target differs, else also the way to it in our own code."""
    if finding.verdict is Verdict.NOT_COMPLIANT:
        return finding.cause

    def ours(excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
        kept = excinfo.traceback.filter(
            lambda entry: (
                Path(entry.path).is_relative_to(config.rootpath)
                and "site-packages" not in str(entry.path)
                and Path(entry.path).parent != _HERE
            )
        )
        return kept or excinfo.traceback

    tbfilter = ours if not config.getoption("fulltrace") else False
    return redact(str(error.getrepr(style="short", tbfilter=tbfilter)))


def pytest_exception_interact(call: pytest.CallInfo[Any]) -> None:
    """End at once where collecting already finds the question wrong: a target that is none."""
    error = call.excinfo.value if call.excinfo else None
    if call.when == "collect" and isinstance(error, RemediationError) and error.exit_code == USAGE:
        raise pytest.UsageError(redact(str(error))) from error


class _Ear:
    """Hears a Ctrl-C before there is a session that could."""

    interrupted = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell it from pytest's own ways to stop."""
        self.interrupted = excinfo.type is KeyboardInterrupt


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(
    config: pytest.Config,
) -> Generator[None, int | pytest.ExitCode, int | pytest.ExitCode]:
    """End with 2 where pytest would end with 4: a bad path, expression, tag or setting.

    And with 130 where it would end with 2 or a traceback: interrupted before the first question, or
    when all was judged already. Where nothing can be written, or a plugin fails, it ends with 3:
    exit code 1 is a verdict.
    """
    ear = _Ear()
    config.pluginmanager.register(ear)
    try:
        with written():
            code = yield
            early = ear.interrupted and code is pytest.ExitCode.INTERRUPTED
            return INTERRUPTED if early else code
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
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no verdict
        sys.stderr.write(redact(traceback.format_exc()))
        why = one_line(redact(repr(error)))
        sys.stderr.write(f"error: the gate itself failed, which is no verdict: {why}\n")
        return UNKNOWN
