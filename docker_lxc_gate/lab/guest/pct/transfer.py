"""push, with exit code 0 when it failed: Proxmox does not look at the task's end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .errors import PctError
from .files import load
from .lxc import unprivileged

if TYPE_CHECKING:
    from .containers import Lxc

CHUNK = 1 << 20


def push(node: Lxc, positional: list[str], chosen: dict[str, str]) -> int:
    """Copy a file of the node into a running container, as the container's root."""
    ctid, source, destination = positional
    if not node.running(ctid):
        raise PctError("can only push files to a running CT\n")
    user = unprivileged(load(node, ctid).current)
    try:
        reader = os.open(source, os.O_RDONLY)
    except OSError:
        raise PctError(f"failed to open {source} for reading\n", 0) from None
    # From here on this process is inside: links lead nowhere but into the container. It never
    # comes back out.
    node.enter(ctid, user=user)
    _copy(reader, _create(destination, chosen))
    return 0


def _create(path: str, chosen: dict[str, str]) -> int:
    """Open the target; a new file gets the mode asked for or 0666 without the umask."""
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
    return number


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
