"""What became of every scenario of a run, and what the run therefore ends with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from gate.verdicts import DIFFERS, INCOMPLETE, INTERRUPTED, UNKNOWN, first

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOBODY_KNOWS = "it was to run, and nobody knows what became of it"


@dataclass(frozen=True)
class Outcome:
    """What became of one scenario: until it has ended, nothing. ``seconds`` is its duration.

    ``shared``: the cause is that of a whole session, as a target that cannot be reached.
    ``begun``: it has been started, as far as anybody was told.
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


@dataclass
class Tally:
    """The outcomes by node id, and what else decides the exit code.

    ``interrupted``: by the user, with Ctrl-C. ``failures``: the number after which the run was
    stopped, as -x and --maxfail ask; 0 if it was not.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unreadable: int = 0
    deselected: int = 0
    interrupted: bool = False
    failures: int = 0

    def expect(self, outcomes: Iterable[Outcome]) -> None:
        """Note scenarios that are going to run; without a result, each of them is missing."""
        self.outcomes = {each.nodeid: each for each in outcomes} | self.outcomes

    def begin(self, nodeid: str) -> Outcome | None:
        """Note that a scenario is started, and return it; None for other tests."""
        if nodeid in self.outcomes:
            self.outcomes[nodeid] = replace(self.outcomes[nodeid], begun=True)
        return self.outcomes.get(nodeid)

    def take(self, report: pytest.TestReport) -> None:
        """Add what a phase of a scenario came to; reports of other tests are passed over."""
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
        """Return every outcome; that of a scenario which did not end is that it has none."""
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
        """What stopped the run after so many failures, in words."""
        if self.failures == 1:
            return "stopped after the first failure (-x)"
        return f"stopped after {self.failures} failures (--maxfail)"

    def code(self, exitstatus: int) -> int:
        """Return what the session ends with; ``exitstatus`` is what pytest would end with."""
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
