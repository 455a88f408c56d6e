"""``--format github``: causes as annotations of a GitHub workflow, after all else was printed.

Until then GitHub is told to take no line for a command: some are a guest's.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.printable import for_github
from docker_lxc_gate.verdict.evidence import shortened
from docker_lxc_gate.verdict.record import DIFFERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.verdict.record import Outcome, Run

#: GitHub shows ten annotations of a kind in a step, and drops the others.
_SHOWN = 10
_CAUSE = 1000
_ENDS_SILENCE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--format``."""
    parser.getgroup("gate").addoption(
        "--format",
        choices=("text", "github"),
        default="text",
        help="github: also print causes as annotations of a GitHub workflow",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell GitHub to take no line for a command."""
    if config.getoption("--format") == "github":
        token = config.stash[_ENDS_SILENCE] = secrets.token_hex()
        print(f"::stop-commands::{token}", flush=True)


def lines(config: pytest.Config, run: Run) -> Iterator[str]:
    """Yield what ``--format`` asks for: not compliant is an error, all other causes warnings."""
    if token := config.stash.get(_ENDS_SILENCE, ""):
        yield f"::{token}::"
        causes = run.causes.values()
        yield from _shown("error", [those for those in causes if those[0].code == DIFFERS])
        yield from _shown("warning", [those for those in causes if those[0].code != DIFFERS])
        for problem in run.problems[:_SHOWN]:
            yield for_github("notice", problem, title=f"docker-lxc-gate: {run.verdict}")


def _shown(kind: str, causes: list[list[Outcome]]) -> Iterator[str]:
    fits = len(causes) <= _SHOWN
    for each, *others in causes if fits else causes[: _SHOWN - 1]:
        file, _, line = each.where.partition(":")
        also = f" (and {len(others)} more)" if others else ""
        words = [each.target, *each.requirements, f"{each.title}: {each.verdict}{also}"]
        title = " ".join(filter(None, words))
        yield for_github(kind, shortened(each.cause, _CAUSE), file=file, line=line, title=title)
    if not fits:
        rest = f"{len(causes) - _SHOWN + 1} more: see verdict.json"
        yield for_github(kind, rest, title="docker-lxc-gate")
