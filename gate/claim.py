"""The folder that a run writes its results to: tried before anything is asked, one run at a time.

An answer that cannot be written down is none, and two runs in one folder would mix theirs.
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

#: What a small run writes (bytes): a folder without that much room is refused.
_ROOM = 1 << 20
_LOCK = ".lock"


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(
    config: pytest.Config,
) -> Generator[None, int | pytest.ExitCode, int | pytest.ExitCode]:
    """Try and hold the place that results go to, before anything is asked.

    Raises:
        Unanswerable: nothing can be written there, another run writes there, or Python leaves
            assertions out.
    """
    if not __debug__:
        raise Unanswerable(
            "Python runs with -O or PYTHONOPTIMIZE, which leaves out every assertion, and so every "
            "verdict. Run it without"
        )
    option, reports = config.option, config.rootpath / "reports"
    worker = hasattr(config, "workerinput")  # of xdist: the run that started it holds the place
    if worker or option.collectonly or not feature_files(config):
        return (yield)
    own = option.allure_report_dir and option.xmlpath and option.no_report
    lock = claim(Path(option.allure_report_dir) if own else reports, alone=not own)
    with lock or nullcontext():
        return (yield)


def claim(folder: Path, *, alone: bool) -> IO[str] | None:
    """Make a folder, and hold it for this run until the returned file is closed.

    Only the user who runs the gate may enter it: what a hypervisor answered is nobody else's.

    Args:
        folder: where results go.
        alone: whether no other run may write there meanwhile.

    Returns:
        The lock, if ``alone``.

    Raises:
        Unanswerable: it cannot be written, has no room, or is another run's.
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
    with suppress(OSError):  # the number is for a reader; the lock holds without it
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
    return lock
