"""The folder for a run's results: checked and locked before any scenario runs.

A result that cannot be written is none, and two runs in one folder would mix their results.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gate.collection import feature_files
from gate.verdicts import Unanswerable

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import IO

#: Room that a small run needs (bytes); a folder with less is refused.
_ROOM = 1 << 20
_LOCK = ".lock"


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(
    config: pytest.Config,
) -> Generator[None, int | pytest.ExitCode, int | pytest.ExitCode]:
    """Check and lock the folder for results, before any scenario runs.

    Raises:
        Unanswerable: the folder cannot be written, another run writes there, or Python runs without
            assertions.
    """
    if not __debug__:
        raise Unanswerable(
            "Python runs with -O or PYTHONOPTIMIZE, which removes every assertion, and so every "
            "verdict. Run it without"
        )
    option, reports = config.option, config.rootpath / "reports"
    worker = hasattr(config, "workerinput")  # of xdist: the main process holds the lock
    if worker or option.collectonly or not feature_files(config):
        return (yield)
    own = option.allure_report_dir and option.xmlpath and option.no_report
    lock = claim(Path(option.allure_report_dir) if own else reports, alone=not own)
    with lock or nullcontext():
        return (yield)


def claim(folder: Path, *, alone: bool) -> IO[str] | None:
    """Create a folder, and lock it until the returned file is closed.

    Only the user who runs the gate may read it, because evidence about a hypervisor is private.

    Args:
        folder: for results.
        alone: whether to lock it for this run alone.

    Returns:
        The lock, if ``alone``.

    Raises:
        Unanswerable: the folder cannot be written, is full, or another run holds it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if alone:
            folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, _ROOM)
        return _lock(folder) if alone else None
    except OSError as error:
        raise Unanswerable(
            f"results cannot be written to {folder}: {error.strerror}. Make room or name another "
            "place: --alluredir DIR --junit-xml FILE"
        ) from error


def _lock(folder: Path) -> IO[str]:
    lock = (folder / _LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read(32).strip()
        lock.close()
        raise Unanswerable(
            f"another run of the gate writes to {folder} (process {holder}). Wait for its end, or "
            "give this run its own place: --no-report --alluredir DIR --junit-xml FILE"
        ) from None
    with suppress(OSError):  # the pid is for messages only
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
    return lock
