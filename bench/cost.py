"""What one command takes: time, processor time, memory."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path(__file__).parents[1]
_SPAWN = Path(__file__).with_name("spawn.py")


@dataclass(frozen=True)
class Cost:
    """What a command took, with the start of its program.

    Attributes:
        seconds: how long it ran.
        processor: seconds of processor time, of the program and the kernel, and of all processes
            that it started. Other load on the machine changes it little.
        peak: the most memory that it held (resident, MiB).
        said: its standard output.
    """

    seconds: float
    processor: float
    peak: float
    said: str


def of(argv: Sequence[str]) -> Cost:
    """Run a command in this checkout, and return what it took.

    Raises:
        ClickException: it did not end with 0; with the end of what it printed.
    """
    read, write = os.pipe()
    with os.fdopen(read) as told:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(_SPAWN), str(write), *argv],
                cwd=_ROOT,
                capture_output=True,
                text=True,
                check=False,
                pass_fds=[write],
            )
        finally:
            os.close(write)
        if done.returncode:
            said = f"{done.stdout[-1000:]}{done.stderr[-1000:]}"
            raise click.ClickException(f"{shlex.join(argv)} ended with {done.returncode}:\n{said}")
        return Cost(**json.load(told), said=done.stdout)


def ours(*words: str) -> list[str]:
    """Return the command line of ``python -m remediation``."""
    return [sys.executable, "-m", "remediation", *words]


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of several runs of one command."""
    return Cost(
        statistics.median(each.seconds for each in costs),
        statistics.median(each.processor for each in costs),
        statistics.median(each.peak for each in costs),
        costs[0].said,
    )
