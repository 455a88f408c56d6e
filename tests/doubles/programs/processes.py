"""Processes of this machine: their children; whether they run, and an unwaited one does not."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def until(happens: Callable[[], Any], within: float = 300.0) -> Any:
    """Wait, for so many seconds, for what comes to be true, and return it."""
    end = time.monotonic() + within
    while not (found := happens()):
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)
    return found


def gone(pid: int, within: float = 10.0) -> bool:
    """Whether a process ends in so many seconds: on a busy machine a signal takes its time."""
    end = time.monotonic() + within
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Return a process's children, none if it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(each) for each in text.split()]
