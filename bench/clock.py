"""Figures: printed when they are known, kept when a later stage fails, written as JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from targets.errors import RemediationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

#: The version of the JSON that :meth:`Clock.write` writes.
FORMAT = 1


class Clock:
    """Collects figures; it is also the lab's Steps, so that the lab's own stages count.

    Attributes:
        rows: each stage with its duration (seconds).
        counts: what was counted, by what it is.
        notes: lines about the figures, such as a difference of two end states.
        failed: the stages without a figure, each with the cause.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, float]] = []
        self.counts: dict[str, float] = {}
        self.notes: list[str] = []
        self.failed: dict[str, str] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Time a stage (seconds), and print the duration."""
        started = time.monotonic()
        yield
        self.say(what, time.monotonic() - started)

    def say(self, what: str, seconds: float) -> None:
        """Keep a figure, and print it now, because a later stage may fail."""
        self.rows.append((what, seconds))
        print(f"{what}: {seconds:.1f} s", file=sys.stderr, flush=True)

    def note(self, line: str) -> None:
        """Keep a line about the figures, and print it."""
        self.notes.append(line)
        print(line, file=sys.stderr, flush=True)

    def stage(self, what: str, do: Callable[[], object]) -> bool:
        """Run a stage; a failed one is named at the end, and the next stages still run.

        Args:
            what: its name.
            do: runs it; a float that it returns is its figure (seconds) instead of its duration.

        Returns:
            Whether it has a figure.
        """
        started = time.monotonic()
        try:
            own = do()
        except (RemediationError, click.ClickException, OSError) as error:
            self.failed[what] = str(error)
            print(f"{what}: failed: {error}", file=sys.stderr, flush=True)
            return False
        self.say(what, own if isinstance(own, float) else time.monotonic() - started)
        return True

    def seconds(self, what: str) -> float | None:
        """Return a stage's duration, None if it is not known."""
        return dict(self.rows).get(what)

    def write(self, file: Path, machine: Mapping[str, Any]) -> None:
        """Write all that is known so far as JSON.

        Args:
            file: is replaced.
            machine: where it was measured.
        """
        told = {
            "format": FORMAT,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dict(machine),
            "seconds": {what: round(seconds, 3) for what, seconds in self.rows},
            "counts": self.counts,
            "notes": self.notes,
            "failed": self.failed,
        }
        file.write_text(json.dumps(told, indent=2) + "\n")


def median(of: Callable[[], object], times: int = 3) -> float:
    """Return the median duration (seconds) of several runs.

    Args:
        of: one run; a float that it returns is its figure (seconds) instead of its duration.
        times: how often.
    """
    figures = []
    for _ in range(times):
        started = time.monotonic()
        own = of()
        figures.append(own if isinstance(own, float) else time.monotonic() - started)
    return statistics.median(figures)
