"""The outcome of every scenario of a run, and the run's exit code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from docker_lxc_gate.verdict.verdicts import DIFFERS, INCOMPLETE, INTERRUPTED, UNKNOWN, first

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOBODY_KNOWS = "it should have run, but has no result"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one scenario; none until it has ended. ``seconds`` is its duration.

    ``shared``: the cause is that of a whole session, such as an unreachable target.
    ``begun``: its start was reported. ``included``: the plan that asks this scenario, too.
    """

    nodeid: str
    title: str
    feature: str = ""
    requirements: tuple[str, ...] = ()
    where: str = ""
    step: str = ""
    verdict: str = "no result"
    code: int = INCOMPLETE
    cause: str = _NOBODY_KNOWS
    shared: bool = False
    said: tuple[str, ...] = ()
    seconds: float = 0.0
    begun: bool = False
    ended: bool = False
    included: str = ""


@dataclass
class Tally:
    """The outcomes by node id, and other facts that decide the exit code.

    ``interrupted``: by the user, with Ctrl-C. ``failures``: the number of failures after which -x
    or --maxfail stopped the run; 0 if they did not.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unreadable: int = 0
    deselected: int = 0
    interrupted: bool = False
    failures: int = 0

    def expect(self, outcomes: Iterable[Outcome]) -> None:
        """Note the scenarios that will run; each one without a result is missing."""
        self.outcomes = {each.nodeid: each for each in outcomes} | self.outcomes

    def begin(self, nodeid: str) -> Outcome | None:
        """Note a scenario's start, and return it; None for other tests."""
        if nodeid in self.outcomes:
            self.outcomes[nodeid] = replace(self.outcomes[nodeid], begun=True)
        return self.outcomes.get(nodeid)

    def take(self, report: pytest.TestReport) -> None:
        """Add the report of a scenario's phase; reports of other tests are ignored."""
        facts: dict[str, Any] | None = getattr(report, "gate", None)
        if facts is None:
            return
        before = self.outcomes.get(report.nodeid)
        self.outcomes[report.nodeid] = Outcome(
            report.nodeid,
            **facts,
            seconds=report.duration + (before.seconds if before else 0.0),
            begun=True,
            ended=report.when == "teardown",
        )

    def settled(self) -> list[Outcome]:
        """Return every outcome; a scenario that did not end has "no result"."""
        blank = Outcome("", "")
        return [
            each
            if each.ended
            else replace(each, verdict=blank.verdict, code=blank.code, cause=self._why(each))
            for each in self.outcomes.values()
        ]

    def _why(self, missing: Outcome) -> str:
        """Return why a scenario has no result."""
        if self.interrupted:
            return "interrupted while it ran" if missing.begun else "interrupted before it ran"
        if self.failures and not missing.begun:
            return f"not run: {self.stopped}"
        return _NOBODY_KNOWS

    @property
    def stopped(self) -> str:
        """The reason why the run stopped after failures, for a message."""
        if self.failures == 1:
            return "stopped after the first failure (-x)"
        return f"stopped after {self.failures} failures (--maxfail)"

    def code(self, exitstatus: int) -> int:
        """Return the session's exit code; ``exitstatus`` is pytest's own."""
        if self.interrupted:
            return INTERRUPTED
        codes = {each.code for each in self.settled()} or {UNKNOWN}
        if self.unreadable or exitstatus == pytest.ExitCode.INTERRUPTED:
            codes.add(INCOMPLETE)
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            codes.add(UNKNOWN)
        if exitstatus == pytest.ExitCode.TESTS_FAILED and not any(codes):
            codes.add(DIFFERS)  # an ordinary test failed beside the scenarios
        return first(codes)
