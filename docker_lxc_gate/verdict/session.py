"""From the verdicts of all scenarios to the session's exit code, its record and last lines."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import suppress

import allure_commons
import pytest
from pytest_bdd.reporting import scenario_reports_registry

from docker_lxc_gate.printable import counted, one_line
from docker_lxc_gate.verdict import record
from docker_lxc_gate.verdict import report as reports
from docker_lxc_gate.verdict.collection import NOT_A_RUN, expected, feature_files, left_out
from docker_lxc_gate.verdict.evidence import redact
from docker_lxc_gate.verdict.outputs.terminal import Screen
from docker_lxc_gate.verdict.record import DIFFERS, HOLDS, UNKNOWN, USAGE, WAIVER
from docker_lxc_gate.verdict.tally import OutcomeTally


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Judge this session, unless nothing runs in it."""
    # pluggy warns if an interrupt ends a plugin's wrapper. Warnings are errors here, so this one
    # would hide the interrupt behind an INTERNALERROR of 200 lines.
    config.addinivalue_line("filterwarnings", "ignore::pluggy.PluggyTeardownRaisedWarning")
    if not any(config.getoption(name) for name in NOT_A_RUN):
        config.pluginmanager.register(Gate(config), "gate-session")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_cmdline_main(
    config: pytest.Config,
) -> Generator[None, int | pytest.ExitCode, int | pytest.ExitCode]:
    """Record that a run broke off: what it had judged stays, and its exit code is no verdict."""
    try:
        return (yield)
    except pytest.UsageError:
        raise
    except BaseException as error:
        if (gate := config.pluginmanager.get_plugin("gate-session")) and gate.asked:
            interrupted = gate.tally.interrupted = isinstance(error, KeyboardInterrupt)
            gate.run.problems.append(f"the run broke off: {one_line(redact(repr(error)))}")
            with suppress(OSError):
                gate.written(gate.tally.code(pytest.ExitCode.OK) if interrupted else UNKNOWN)
        raise


def not_judged(config: pytest.Config, why: str) -> None:
    """Note that something that was to be judged was not: the run is undetermined at best."""
    gate = config.pluginmanager.get_plugin("gate-session")
    if gate and gate.asked:
        gate.run.problems.append(redact(why))
        gate.tally.not_judged = True


class Gate:
    """The plugin that counts, prints and decides."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.tally = config, OutcomeTally()
        self.asked = bool(feature_files(config))
        self.done: record.Run | None = None
        self.screen = Screen(config, quiet=self.asked)
        if self.asked:
            self.run = record.begun(config)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Expect a result from every selected scenario."""
        self.tally.expect(filter(None, map(expected, session.items)))
        self.screen.several = len({outcome.target for outcome in self.tally.outcomes.values()}) > 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count unreadable files: their scenarios have no result."""
        self.tally.unreadable += report.failed

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Note the scenarios that are not asked."""
        self.tally.expect(filter(None, map(left_out, items)))

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that pytest or a plugin failed."""
        if self.asked:
            self.run.problems.append(f"pytest failed: {one_line(redact(repr(excinfo.value)))}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Let pytest count scenarios without printing a letter for each."""
        if ".feature::" not in report.nodeid:
            return None
        category = "error" if report.failed and report.when != "call" else report.outcome
        return ("" if report.passed and report.when != "call" else category, "", "")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say which scenario is running now."""
        if outcome := self.tally.begin(nodeid):
            self.screen.begin(outcome)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Drop what plugins keep of a scenario that ended, because pytest keeps every item."""
        done = yield
        scenario_reports_registry.pop(item, None)
        item._store = item.stash = pytest.Stash()  # noqa: SLF001 - pytest has both names for it
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a phase; after the last one, print the scenario's verdict."""
        self.tally.take(report)
        outcome = self.tally.outcomes.get(report.nodeid)
        if outcome and outcome.ended:
            self.screen.end(outcome)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note a Ctrl-C; pytest's own stops also call this."""
        self.tally.interrupted = excinfo.type is KeyboardInterrupt

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, None, None]:
        """Decide, render and print, after everyone else: nothing overrides the exit code."""
        if self.asked and not self.tally.unreadable and not self.screen.detailed:
            self.config.option.no_summary = True
        most: int = self.config.getoption("maxfail") or 0
        if self.asked and 0 < most <= session.testsfailed:
            why = f"stopped after {counted(most, 'failure')} (-x, --maxfail)"
            session.shouldfail = self.tally.stopped = why  # pytest's own message has no singular
        yield
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return  # docker_lxc_gate.verdict.verdicts prints the error
        if self.asked:
            session.items.clear()  # of a fleet they take much memory, and nobody asks for them now
            gc.collect()
            code = self.tally.code(exitstatus)
            waivers = record.used(self.config, self.tally.settled())
            if code in {UNKNOWN, HOLDS} and any(waiver.use.is_wrong for waiver in waivers):
                code = WAIVER
            session.exitstatus = code
            if files := self.tally.unreadable:
                self.run.problems.append(f"{counted(files, 'file')} could not be read")
            if code == DIFFERS not in {o.counts_as for o in self.tally.outcomes.values()}:
                self.run.problems.append("a test that is no scenario failed")
            self._conclude(self.written(code))
        elif exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = UNKNOWN
            self.screen.nothing(record.WORDS[UNKNOWN])

    def written(self, code: int) -> record.Run:
        """Complete the record of the run, and write what is made from it."""
        self.run.code = code
        self.done = run = record.completed(self.run, self.config, self.tally.settled())
        reports.write(self.config, run)
        return run

    def _conclude(self, run: record.Run) -> None:
        for scenario in run.asked:
            if not scenario.ended:  # Allure has no page for it, so the front page shows it
                allure_commons.plugin_manager.hook.global_error(
                    message=f"{scenario.title}: {scenario.cause}", trace=""
                )
        self.screen.conclude(run)
        if run.asked and run.code != USAGE:
            self.screen.line(reports.publish(self.config, run))
