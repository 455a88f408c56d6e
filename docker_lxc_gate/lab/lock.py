"""The lab's locks: one command at a time starts it, and none replaces what another uses."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from docker_lxc_gate.lab.errors import LabError

if TYPE_CHECKING:
    from docker_lxc_gate.lab.progress import Steps

#: The files by which this process says that it uses a lab. They stay open until it ends.
_in_use: dict[Path, IO[str]] = {}


@contextmanager
def only_one(path: Path, steps: Steps) -> Iterator[None]:
    """Hold the lock; the kernel releases it when the process ends, even by a crash.

    The file names the holder. While another process holds it, this says which one it waits for.
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


def use(path: Path) -> None:
    """Say that this process uses the lab, until it ends."""
    if path not in _in_use:
        _in_use[path] = path.open("a")
    fcntl.flock(_in_use[path], fcntl.LOCK_SH)


def require_unused(path: Path) -> None:
    """Raise LabError if another process uses the lab."""
    use(path)
    try:
        fcntl.flock(_in_use[path], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LabError(
            "another command uses the lab that runs, and it does not answer, or is of other "
            "sources or releases than asked for\n"
            "wait until that has ended, or set LAB_HOME to another folder"
        ) from None
    finally:  # a lock that could not be exclusive is lost
        fcntl.flock(_in_use[path], fcntl.LOCK_SH)
