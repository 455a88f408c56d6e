"""CTRF from the record of a run (ctrf.io, version 1.0.0): *other* is undetermined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from docker_lxc_gate.verdict.record import BAD, Outcome, Run, Verdict

if TYPE_CHECKING:
    from datetime import datetime


_STATUSES = {
    Verdict.COMPLIANT: "passed",
    Verdict.NOT_COMPLIANT: "failed",
    Verdict.NOT_ASKED: "skipped",
    Verdict.NOT_APPLICABLE: "skipped",
}


def encoded(run: Run) -> str:
    """Return the file's content; problems of the run itself are tests of their own."""
    status, suite = "failed" if run.code in BAD else "other", ["the run itself"]
    itself = {"status": status, "rawStatus": run.verdict, "duration": 0, "suite": suite}
    tests = [_test(each) for each in run.scenarios]
    tests += [{"name": problem} | itself for problem in run.own_problems]
    statuses = [each["status"] for each in tests]
    counts = {s: statuses.count(s) for s in ("passed", "failed", "skipped", "pending", "other")}
    summary = {
        "tests": len(tests),
        "start": _ms(run.began),
        "stop": _ms(run.ended),
        **counts,
        "extra": {"verdict": run.verdict, "code": run.code},
    }
    tool = {"name": "docker-lxc-gate", "version": run.version}
    results = {"tool": tool, "summary": summary, "tests": tests}
    whole = {"reportFormat": "CTRF", "specVersion": "1.0.0", "results": results}
    return msgspec.json.format(msgspec.json.encode(whole).decode(), indent=1) + "\n"


def _test(outcome: Outcome) -> dict[str, Any]:
    file, line = outcome.place
    test = {
        "name": " ".join([*outcome.requirements, outcome.title]),
        "status": "skipped" if outcome.is_waived else _STATUSES.get(outcome.verdict, "other"),
        "rawStatus": outcome.word,
        "duration": round(outcome.seconds * 1000),
        "suite": [outcome.target or "gate", outcome.feature or "scenarios"],
        "message": outcome.cause,
        "filePath": file,
        "line": int(line) if line.isascii() and line.isdecimal() else None,
        "tags": list(outcome.requirements),
    }
    return {key: value for key, value in test.items() if value not in (None, "")}


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
