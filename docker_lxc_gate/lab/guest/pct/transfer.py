"""push, with exit code 0 when it failed: Proxmox does not look at the task's end."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from typing import TYPE_CHECKING

from .errors import PctError
from .files import load
from .lxc import unprivileged

if TYPE_CHECKING:
    from collections.abc import Callable

    from .containers import Containers

CHUNK = 1 << 20


def push(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Copy a file of the node into a running container, as the container's root."""
    ctid, source, destination = positional
    if not node.running(ctid):
        raise PctError("can only push files to a running CT\n")
    user = unprivileged(load(node, ctid).current)
    try:
        reader = os.open(source, os.O_RDONLY)
    except OSError:
        raise PctError(f"failed to open {source} for reading\n", 0) from None
    # From here on this process is inside: names of users are the container's, links lead nowhere
    # but into the container. It never comes back out.
    node.enter(ctid, user=user)
    _copy(reader, _create(destination, chosen))
    return 0


def _create(path: str, chosen: dict[str, str]) -> int:
    """Open the target; a new file gets the mode asked for or 0666 without the umask."""
    uid = _number(chosen.get("user"), "uid", lambda name: pwd.getpwnam(name).pw_uid)
    gid = _number(chosen.get("group"), "gid", lambda name: grp.getgrnam(name).gr_gid)
    mode = _mode(chosen.get("perms"))
    flags = os.O_WRONLY | os.O_CREAT
    try:
        try:
            number = os.open(path, flags | os.O_EXCL, 0)
            mode = _default_mode() if mode is None else mode
        except FileExistsError:
            number = os.open(path, flags | os.O_TRUNC)
    except OSError as error:
        raise PctError(f"failed to create file: {path}: {error.strerror}\n", 0) from None
    if mode is not None:
        os.fchmod(number, mode)
    if (uid, gid) != (-1, -1):
        os.fchown(number, uid, gid)
    return number


def _number(name: str | None, kind: str, look_up: Callable[[str], int]) -> int:
    """A user's or group's number; -1, which chown leaves alone, for none."""
    if name is None:
        return -1
    try:
        return int(name) if name.isascii() and name.isdecimal() else look_up(name)
    except KeyError:
        raise PctError(f"failed to get {kind} for: {name}\n", 0) from None


def _mode(text: str | None) -> int | None:
    if text is None:
        return None
    text = text if text.startswith("0") else f"0{text}"
    try:
        return int(text, 16 if text.startswith("0x") else 8)
    except ValueError:
        raise PctError(f"invalid mode: '{text}'\n", 0) from None


def _default_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _copy(reader: int, writer: int) -> None:
    """Copy until nothing more comes, saying nothing of an error: a directory reads as empty."""
    try:
        while chunk := os.read(reader, CHUNK):
            view = memoryview(chunk)
            while view:
                view = view[os.write(writer, view) :]
    except OSError as error:
        if not isinstance(error, IsADirectoryError):
            sys.stderr.write(f"{error.strerror}\n")
