"""The folder for a run's results: checked and locked before any scenario runs.

A result that cannot be written is none, and two runs in one folder would mix their results. Only
the user who runs the gate may read a file of a report: evidence about a hypervisor is private.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

import pytest

from docker_lxc_gate.verdict.collection import ExitCodes, judges
from docker_lxc_gate.verdict.verdicts import Unanswerable

#: It is locked while a run lasts, and says that the gate made the folder.
_LOCK = ".lock"
#: What a run replaces.
OURS = ("verdict.json", "allure-results", "report", "junit.xml", _LOCK)
#: The umask of a file that only its owner may read.
CLOSED = 0o077


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> ExitCodes:
    """Check and lock the folder for results, before any scenario runs.

    Raises:
        Unanswerable: the folder cannot be written, another run writes there, or Python runs without
            assertions.
        UsageError: several processes would judge one machine.
    """
    if not __debug__:
        raise Unanswerable(
            "Python runs with -O or PYTHONOPTIMIZE, which removes every assertion, and so every "
            "verdict. Run it without"
        )
    option = config.option
    if not judges(config):
        return (yield)
    if getattr(option, "numprocesses", 0) or getattr(option, "dist", "no") != "no":
        raise pytest.UsageError("the gate runs in one process: leave pytest-xdist's -n out")
    folder, own = place(config)
    with claim(folder, alone=not own) or nullcontext():
        return (yield)


def place(config: pytest.Config) -> tuple[Path, bool]:
    """Return the folder of a run's files, and whether the command line names it."""
    option = config.option
    own = bool(option.allure_report_dir and option.xmlpath and option.no_report)
    reports = config.invocation_params.dir / "reports"
    return (Path(option.allure_report_dir).absolute() if own else reports), own


@contextmanager
def closed_to_others() -> Iterator[None]:
    """Create files that only their owner may read.

    This is for a file at a time: what is run on a local target in between keeps the user's umask.
    """
    before = os.umask(CLOSED)
    try:
        yield
    finally:
        os.umask(before)


def claim(folder: Path, *, alone: bool) -> IO[bytes] | None:
    """Create a folder for results; if ``alone``, lock it until the returned file is closed.

    The kernel drops the lock of a process that ended, however it ended.

    Raises:
        Unanswerable: the folder cannot be written, or another run holds it.
    """
    why = _not_own(folder) if alone else ""
    if alone and not (folder / _LOCK).exists() and any((folder / name).exists() for name in OURS):
        why = "it has the results of another program"  # a run would replace them
    try:
        if not why:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _lock(folder) if alone else None
    except BlockingIOError:
        why = "another run of the gate writes there"
    except OSError as error:
        why = str(error.strerror)
    raise Unanswerable(
        f"results cannot be written to {folder}: {why}. Remove the cause, start in another "
        "directory, or name another place: --no-report --alluredir DIR --junit-xml FILE"
    )


def _not_own(folder: Path) -> str:
    """Return why a folder is none for results; empty if it is one.

    A run closes it to others, and replaces files in it: behind a link it may be /etc.
    """
    with suppress(FileNotFoundError):
        if folder.is_symlink():
            return "it is a link"
        if (owner := folder.stat().st_uid) != os.geteuid():
            return f"it belongs to the user {owner}"
    return ""


def _lock(folder: Path) -> IO[bytes]:
    """Close a folder to others, and lock it; nothing is written to the file."""
    folder.chmod(0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.fdopen(os.open(folder / _LOCK, flags, 0o600), "r+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock
