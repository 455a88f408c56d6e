"""The folder for a run's results: checked and locked before any scenario runs.

A result that cannot be written is none, and two runs in one folder would mix their results. Only
the user who runs the gate may read a file of a report: evidence about a hypervisor is private.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

import pytest

from docker_lxc_gate.verdict.collection import ExitCodes, judges
from docker_lxc_gate.verdict.verdicts import Unanswerable

#: Room that a small run needs (bytes); a folder with less is refused.
_ROOM = 1 << 20
_LOCK = ".lock"
#: What a run replaces.
OURS = (
    *("verdict.json", "summary.md", "allure-results", "report", "junit.xml", "history.jsonl"),
    _LOCK,
)
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


def claim(folder: Path, *, alone: bool) -> IO[str] | None:
    """Create a folder for results; if ``alone``, lock it until the returned file is closed.

    Raises Unanswerable if the folder cannot be written, is full, or another run holds it.
    """
    elsewhere = "another place: --no-report --alluredir DIR --junit-xml FILE"
    why = not_own(folder) if alone else ""
    if alone and not (folder / _LOCK).exists() and any((folder / name).exists() for name in OURS):
        why = "it has the results of another program"  # a run would replace them
    if why:
        raise Unanswerable(
            f"results cannot be written to {folder}: {why}. Move it away, start in another "
            f"directory, or name {elsewhere}"
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, _ROOM)
        return _lock(folder) if alone else None
    except OSError as error:
        raise Unanswerable(
            f"results cannot be written to {folder}: {error.strerror}. Make room, or name "
            f"{elsewhere}"
        ) from error


def not_own(folder: Path) -> str:
    """Return why a folder is none for results; empty if it is one.

    A run closes it to others, and replaces files in it: behind a link it may be /etc. Others must
    not exchange root's for such a link either; a user of sudo could be root anyhow. A job of CI is
    often root in a directory of another user's, or in one that all may write to: its machine is
    its own.
    """
    trusted = {"0", os.environ.get("SUDO_UID")}
    with suppress(FileNotFoundError):
        if folder.is_symlink():
            return "it is a link"
        if (owner := folder.stat().st_uid) != os.geteuid():
            return f"it belongs to the user {owner}"
    for above in folder.parents if os.geteuid() == 0 and not os.environ.get("CI") else ():
        with suppress(FileNotFoundError):
            its = above.lstat()
            written = its.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if its.st_gid else 0))
            if str(its.st_uid) not in trusted or (written and not its.st_mode & stat.S_ISVTX):
                return (
                    f"you are root, and others may exchange it, because they may write to {above}"
                )
    return ""


def _lock(folder: Path) -> IO[str]:
    """Close a folder to others, and lock it: what is checked is changed, whatever its path is."""
    at = _opened(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fchmod(at, 0o700)
        opened = _opened(_LOCK, os.O_RDWR | os.O_APPEND | os.O_CREAT, at)
    finally:
        os.close(at)
    lock = os.fdopen(opened, "a+", encoding="utf-8")
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


def _opened(path: Path | str, flags: int, at: int | None = None) -> int:
    """Open what is no link; raise OSError if it is another user's, or has another name, too."""
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at)
    its = os.fstat(opened)
    if its.st_uid != os.geteuid() or (not stat.S_ISDIR(its.st_mode) and its.st_nlink > 1):
        os.close(opened)
        raise PermissionError(errno.EPERM, "somebody put another file in its place")
    return opened
