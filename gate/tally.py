"""What became of every scenario of a run, and what the run therefore ends with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from gate.verdicts import DIFFERS, INCOMPLETE, UNKNOWN, first

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Outcome:
    """What became of one scenario: until it has ended, nothing. ``seconds`` is its duration.

    ``shared``: the cause is that of a whole session, as a target that cannot be reached.
    """

    nodeid: str
    title: str
    feature: str = ""
    requirements: tuple[str, ...] = ()
    where: str = ""
    step: str = ""
    verdict: str = "no result"
    code: int = INCOMPLETE
    cause: str = "it was to run, and nobody knows what became of it"
    shared: bool = False
    said: tuple[str, ...] = ()
    seconds: float = 0.0
    ended: bool = False


@dataclass
class Tally:
    """The outcomes by node id, and what else decides the exit code."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unreadable: int = 0
    deselected: int = 0

    def expect(self, outcomes: Iterable[Outcome]) -> None:
        """Note scenarios that are going to run; without a result, each of them is missing."""
        self.outcomes = {each.nodeid: each for each in outcomes} | self.outcomes

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
            ended=report.when == "teardown",
        )

    def settled(self) -> list[Outcome]:
        """Return every outcome; that of a scenario which did not end is that it has none."""
        blank = Outcome("", "")
        return [
            each
            if each.ended
            else replace(each, verdict=blank.verdict, code=blank.code, cause=blank.cause)
            for each in self.outcomes.values()
        ]

    def code(self, exitstatus: int) -> int:
        """Return what the session ends with; ``exitstatus`` is what pytest would end with."""
        codes = {each.code for each in self.settled()} or {UNKNOWN}
        if self.unreadable or exitstatus == pytest.ExitCode.INTERRUPTED:
            codes.add(INCOMPLETE)
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            codes.add(UNKNOWN)
        if exitstatus == pytest.ExitCode.TESTS_FAILED and not any(codes):
            codes.add(DIFFERS)  # an ordinary test failed beside the scenarios
        return first(codes)
