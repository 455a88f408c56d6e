"""The outcome of every scenario of a run, and the run's exit code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from msgspec import structs

from docker_lxc_gate.machines.process import interrupted_by
from docker_lxc_gate.verdict.record import DIFFERS, INCOMPLETE, INTERRUPTED, UNKNOWN, Outcome
from docker_lxc_gate.verdict.verdicts import first

#: A scenario without a result.
_BLANK = Outcome("", "")


@dataclass
class OutcomeTally:
    """The outcomes by node id, and other facts that decide the exit code.

    ``beside``: a test failed that is no scenario. ``not_judged``: a target has no scenario.
    ``interrupted``: by the user, with Ctrl-C. ``stopped``: why -x or --maxfail stopped the run.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unreadable: int = 0
    beside: bool = False
    not_judged: bool = False
    interrupted: bool = False
    stopped: str = ""

    def expect(self, outcomes: Iterable[Outcome]) -> None:
        """Note scenarios that will run, and those that are left out."""
        self.outcomes = {outcome.nodeid: outcome for outcome in outcomes} | self.outcomes

    def begin(self, nodeid: str) -> Outcome | None:
        """Note a scenario's start, and return it; None for other tests."""
        if nodeid in self.outcomes:
            now = datetime.now(UTC)
            self.outcomes[nodeid] = structs.replace(self.outcomes[nodeid], began=now)
        return self.outcomes.get(nodeid)

    def take(self, report: pytest.TestReport) -> None:
        """Add the report of a scenario's phase; reports of other tests are ignored."""
        outcome: Outcome | None = getattr(report, "gate", None)
        if outcome is None:
            self.beside |= report.failed
            return
        before, now = self.outcomes.get(report.nodeid, outcome), datetime.now(UTC)
        self.outcomes[report.nodeid] = structs.replace(
            outcome,
            seconds=report.duration + before.seconds,
            began=before.began or now,
            ended=now if report.when == "teardown" else None,
        )

    def settled(self) -> list[Outcome]:
        """Return every outcome; a scenario that did not end has "no result"."""
        missing = {"verdict": _BLANK.verdict, "code": _BLANK.code, "waiver": None}
        return [
            outcome
            if outcome.ended or not outcome.asked
            else structs.replace(outcome, **missing, cause=self._why(outcome))
            for outcome in self.outcomes.values()
        ]

    def _why(self, missing: Outcome) -> str:
        """Return why a scenario has no result."""
        if self.interrupted:
            return "interrupted while it ran" if missing.began else "interrupted before it ran"
        return f"not run: {self.stopped}" if self.stopped and not missing.began else _BLANK.cause

    def code(self, exitstatus: int) -> int:
        """Return the session's exit code; ``exitstatus`` is pytest's own."""
        if self.interrupted:
            return interrupted_by() or INTERRUPTED
        asked = [outcome for outcome in self.settled() if outcome.asked]
        codes = {outcome.counts_as for outcome in asked} or {UNKNOWN}
        if self.unreadable or exitstatus == pytest.ExitCode.INTERRUPTED:
            codes.add(INCOMPLETE)
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR or self.not_judged:
            codes.add(UNKNOWN)
        told = not self.beside and any(outcome.code for outcome in asked)  # that is waived
        if exitstatus == pytest.ExitCode.TESTS_FAILED and not any(codes) and not told:
            codes.add(DIFFERS)
        return first(codes)
