"""The lab's lock: one command at a time. The file names the holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.lab.errors import LabError

if TYPE_CHECKING:
    from docker_lxc_gate.lab.progress import Steps

#: As long as the slowest build (seconds).
_PATIENCE = 1800.0


@contextmanager
def only_one(path: Path, steps: Steps, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold the lock; the kernel releases it when the process ends, even by a crash.

    Raises LabError if another process still holds it after ``patience`` seconds.
    """
    with path.open("a+") as file:
        if not _taken(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            deadline = time.monotonic() + patience
            with steps(f"waiting for another lab command (pid {holder})"):
                while not _taken(file.fileno()):
                    if time.monotonic() > deadline:
                        raise LabError(
                            f"waited {patience:g} s for {path}, which process {holder} still "
                            "holds: wait for that lab command, or end it"
                        )
                    time.sleep(0.2)
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
