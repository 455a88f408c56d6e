"""Files written so that a reader never sees half of one, and the lock around changes."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import config as pve
from .config import Config
from .errors import PctError
from .quick import Node

LOCK_TIMEOUT = 10.0
_NOT_THROUGH_LINKS = os.O_NOFOLLOW | os.O_CLOEXEC


def load(node: Node, ctid: str, *, task: bool = False, quiet: bool = False) -> Config:
    """A container's configuration.

    Inside a ``task``, Proxmox's parser warns on standard output, and a missing file ends in 255
    instead of 2. ``quiet`` shows no warnings: `pct set` drops the lines that do not parse without a
    word.
    """
    config, warnings = pve.parse(ctid, node.text(ctid, 255 if task else 2))
    if not quiet:
        (sys.stdout if task else sys.stderr).write(warnings)
    return config


def config_path(node: Node, ctid: str) -> Path:
    """Where the container's configuration is."""
    return Path(f"{node.root}/etc/pve/lxc/{ctid}.conf")


def store(node: Node, ctid: str, config: Config) -> None:
    """Write a container's configuration, in Proxmox's order; lines that do not parse are lost."""
    replace_file(config_path(node, ctid), pve.serialise(config))


def replace_file(path: Path, text: str) -> None:
    """Write a file of the node's own, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _folder(path.parent, path.name) as (directory, name, _owner):
        _replace(directory, name, text, 0o640, owner=None)


def put(rootfs: Path, relative: str, text: str) -> None:
    """Write a file of the container's, owned by its root: anew, even if it says so already.

    No link is followed on the way: the tree belongs to the container, and one planted there must
    not lead to a file of the node.
    """
    with _folder(rootfs, relative) as (directory, name, owner):
        if not _ignored(directory, name):
            _replace(directory, name, text, 0o644, owner=owner)


def link(rootfs: Path, relative: str, target: str) -> None:
    """Make a symbolic link of the container's anew; an empty target: only remove what is there."""
    with _folder(rootfs, relative) as (directory, name, owner):
        if _ignored(directory, name):
            return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        if target:
            os.symlink(target, name, dir_fd=directory)
            os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)


def make_folder(rootfs: Path, relative: str) -> None:
    """Make a folder of the container's, if it is not there; the one above it is."""
    with _folder(rootfs, relative) as (directory, name, owner), suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=directory)
        os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)


@contextmanager
def _folder(rootfs: Path, relative: str) -> Iterator[tuple[int, str, tuple[int, int]]]:
    """Open a file's folder: its descriptor, the file's name in it, and root's ids there."""
    *folders, name = relative.split("/")
    directory = os.open(rootfs, os.O_DIRECTORY)
    root = os.fstat(directory)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_DIRECTORY | _NOT_THROUGH_LINKS, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield directory, name, (root.st_uid, root.st_gid)
    finally:
        os.close(directory)


def _ignored(directory: int, name: str) -> bool:
    """Whether the container keeps Proxmox from this file: ``.pve-ignore.NAME`` lies beside it."""
    return os.access(f".pve-ignore.{name}", os.F_OK, dir_fd=directory, follow_symlinks=False)


def _replace(
    directory: int, name: str, text: str, mode: int, owner: tuple[int, int] | None
) -> None:
    temporary = f".{name}.pct-{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOT_THROUGH_LINKS
    number = os.open(temporary, flags, mode, dir_fd=directory)
    try:
        with os.fdopen(number, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            os.fchmod(number, mode)
            if owner:
                os.fchown(number, *owner)
            file.flush()
            os.fsync(number)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:  # on a full disk, for example: Proxmox leaves none behind (file_set_contents)
        os.unlink(temporary, dir_fd=directory)
        raise
    os.fsync(directory)


@contextmanager
def locked(node: Node, ctid: str) -> Iterator[None]:
    """Hold the container's lock file while it is changed; PctError if another has it for 10 s."""
    path = Path(f"{node.root}/run/lock/lxc/pct-{ctid}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while not _taken(file.fileno()):
            if time.monotonic() > deadline:
                raise PctError(f"can't lock file '{path}' - got timeout\n")
            time.sleep(0.1)
        yield


def _taken(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
