"""From the verdicts of all scenarios to the session's exit code and its last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import allure_commons
import pytest

from docker_lxc_gate.verdict import report as reports
from docker_lxc_gate.verdict.collection import feature_files, requirements_of, scenario_of, title_of
from docker_lxc_gate.verdict.tally import Outcome, Tally
from docker_lxc_gate.verdict.terminal import Screen
from docker_lxc_gate.verdict.verdicts import UNKNOWN, USAGE

if TYPE_CHECKING:
    from collections.abc import Generator


#: With these options pytest runs no test, so the gate prints nothing.
_NOT_A_RUN = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Judge this session, unless nothing runs in it."""
    # pluggy warns if an interrupt ends a plugin's wrapper. Warnings are errors here, so this one
    # would hide the interrupt behind an INTERNALERROR of 200 lines.
    config.addinivalue_line("filterwarnings", "ignore::pluggy.PluggyTeardownRaisedWarning")
    if not any(config.getoption(name) for name in _NOT_A_RUN):
        config.pluginmanager.register(Gate(config), "gate-session")


class Gate:
    """The plugin that counts, prints and decides."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.tally = config, Tally()
        self.asked = bool(feature_files(config))
        self.screen = Screen(config, quiet=self.asked)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Expect a result from every selected scenario."""
        self.tally.expect(
            Outcome(item.nodeid, title_of(item), scenario.feature.name, requirements_of(item))
            for item in session.items
            if (scenario := scenario_of(item))
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count unreadable files: their scenarios have no result."""
        self.tally.unreadable += report.failed

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count the scenarios that the command line left out."""
        self.tally.deselected += len(items)

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
            self.tally.failures = most
            session.shouldfail = self.tally.stopped  # pytest's own message has no singular
        yield
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return  # docker_lxc_gate.verdict.verdicts prints the error
        if self.asked:
            session.exitstatus = self.tally.code(exitstatus)
            self._conclude(session.exitstatus)
        elif exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = UNKNOWN
            self.screen.nothing(self.tally.deselected)

    def _conclude(self, code: int) -> None:
        outcomes = self.tally.settled()
        if code == USAGE:
            self.screen.error(next(each.cause for each in outcomes if each.code == USAGE))
        elif not outcomes and not self.tally.unreadable:
            self.screen.nothing(self.tally.deselected, code)
        else:
            for each in outcomes:
                if not each.ended:  # Allure has no page for it, so the front page shows it
                    allure_commons.plugin_manager.hook.global_error(
                        message=f"{each.title}: {each.cause}", trace=""
                    )
            self.screen.conclude(outcomes, code, self.tally.deselected)
            self.screen.line(reports.publish(self.config))
