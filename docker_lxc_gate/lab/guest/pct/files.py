"""Files written so that a reader never sees half of one, and the lock around changes."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import config as pve
from .config import Config
from .errors import PctError
from .host import Host


def load(node: Host, ctid: str, code: int = 2, *, quiet: bool = False) -> Config:
    """A container's configuration.

    The ``code`` of the PctError if there is none is 255 where Proxmox finds out inside a task.
    ``quiet`` shows no warnings: `pct set` drops the lines that do not parse without a word.
    """
    try:
        text = config_path(node, ctid).read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        missing = f"Configuration file 'nodes/{node.name}/lxc/{ctid}.conf' does not exist\n"
        raise PctError(missing, code) from None
    config, warnings = pve.parse(ctid, text)
    sys.stderr.write("" if quiet else warnings)
    return config


def config_path(node: Host, ctid: str) -> Path:
    """Where the container's configuration is."""
    return Path(f"{node.root}/etc/pve/lxc/{ctid}.conf")


def store(node: Host, ctid: str, config: Config) -> None:
    """Write a container's configuration, in Proxmox's order; lines that do not parse are lost."""
    replace_file(config_path(node, ctid), pve.serialise(config))


def replace_file(path: Path, text: str) -> None:
    """Write a file of the node's own, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, text, 0o640)


def put(rootfs: Path, relative: str, text: str) -> None:
    """Write a file of the container's, owned by its root: anew, even if it says so already."""
    path = _inside(rootfs, relative)
    if not _ignored(path):
        _replace(path, text, 0o644, rootfs)


def link(rootfs: Path, relative: str, target: str) -> None:
    """Make a symbolic link of the container's anew; an empty target: only remove what is there."""
    path = _inside(rootfs, relative)
    if _ignored(path):
        return
    path.unlink(missing_ok=True)
    if target:
        path.symlink_to(target)
        _give(path, rootfs)


def make_folder(rootfs: Path, relative: str) -> None:
    """Make a folder of the container's, if it is not there; the one above it is."""
    path = _inside(rootfs, relative)
    with suppress(FileExistsError):
        path.mkdir(0o755)
        _give(path, rootfs)


def _inside(rootfs: Path, relative: str) -> Path:
    """The path of a file of the container's, which is stopped.

    OSError if a link is on the way: the tree belongs to the container, and one planted there must
    not lead to a file of the node.
    """
    path = rootfs.resolve() / relative
    if path.parent.resolve() != path.parent:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path.parent))
    return path


def _give(path: Path, rootfs: Path) -> None:
    root = rootfs.stat()
    os.chown(path, root.st_uid, root.st_gid, follow_symlinks=False)


def _ignored(path: Path) -> bool:
    """Whether the container keeps Proxmox from this file: ``.pve-ignore.NAME`` lies beside it."""
    return os.path.lexists(path.with_name(f".pve-ignore.{path.name}"))


def _replace(path: Path, text: str, mode: int, rootfs: Path | None = None) -> None:
    temporary = path.with_name(f".{path.name}.pct-{os.getpid()}")
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(number, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            os.fchmod(number, mode)
            if rootfs:
                _give(temporary, rootfs)
        temporary.replace(path)
    except OSError:  # on a full disk, for example: Proxmox leaves none behind (file_set_contents)
        temporary.unlink()
        raise


@contextmanager
def locked(node: Host, ctid: str) -> Iterator[None]:
    """Hold the container's lock file while it is changed."""
    path = Path(f"{node.root}/run/lock/lxc/pct-{ctid}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
