"""Processes of this machine: their children; whether they run, and an unwaited one does not."""

import time
from pathlib import Path


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
