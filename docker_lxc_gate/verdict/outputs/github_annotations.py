"""``--format github``: causes as annotations of a GitHub workflow, after all else was printed.

Until then GitHub is told to take no line for a command: some are a guest's.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator

import pytest

from docker_lxc_gate.printable import for_github
from docker_lxc_gate.verdict.collection import ExitCodes, judges
from docker_lxc_gate.verdict.evidence import shortened
from docker_lxc_gate.verdict.record import BAD, PRECEDENCE, Outcome, Run

#: GitHub shows ten annotations of a kind in a step, and drops the others.
_SHOWN = 10
_CAUSE = 1000


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> ExitCodes:
    """Print the annotations behind all other output, on either stream."""
    if config.getoption("--format") != "github" or not judges(config):
        return (yield)
    token = secrets.token_hex()
    print(f"::stop-commands::{token}", flush=True)
    try:
        return (yield)
    finally:
        gate = config.pluginmanager.get_plugin("gate-session")
        run = gate.done if gate else None
        sys.stderr.flush()
        print(f"::{token}::", *(_lines(run) if run else ()), sep="\n", flush=True)


def _lines(run: Run) -> Iterator[str]:
    """Yield commands, the worst first: what is wrong are errors, what is not known warnings."""

    def worst(those: list[Outcome]) -> int:
        return min(PRECEDENCE.index(outcome.code) for outcome in those)

    causes = sorted(run.causes.values(), key=worst)
    bad = [those for those in causes if PRECEDENCE[worst(those)] in BAD]
    kind = "error" if run.code in BAD else "warning"
    for problem in run.own_problems[:_SHOWN]:
        yield for_github(kind, problem, title=f"docker-lxc-gate: {run.verdict}")
    yield from _shown("error", bad)
    yield from _shown("warning", causes[len(bad) :])


def _shown(kind: str, causes: list[list[Outcome]]) -> Iterator[str]:
    fits = len(causes) <= _SHOWN
    for first, *others in causes if fits else causes[: _SHOWN - 1]:
        file, line = first.place
        also = f" (and {len(others)} more)" if others else ""
        words = [first.target, *first.requirements, f"{first.title}: {first.verdict}{also}"]
        title = " ".join(filter(None, words))
        yield for_github(kind, shortened(first.cause, _CAUSE), file=file, line=line, title=title)
    if not fits:
        rest = f"{len(causes) - _SHOWN + 1} more: see verdict.json"
        yield for_github(kind, rest, title="docker-lxc-gate")
