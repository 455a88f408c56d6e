"""The lab's lock: one command at a time. The file names the holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker_lxc_gate.lab.progress import Steps


@contextmanager
def only_one(path: Path, steps: Steps) -> Iterator[None]:
    """Hold the lock; the kernel releases it when the process ends, even by a crash.

    While another process holds it, this says which one it waits for.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            with steps(f"waiting for another lab command (pid {holder})"):
                fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
