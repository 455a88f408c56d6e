"""push, with exit code 0 when it failed: Proxmox does not look at the task's end."""

from __future__ import annotations

import os
import sys

from ..containers import LxcHost
from ..errors import PctError
from ..files import load
from ..lxc import unprivileged

CHUNK = 1 << 20


def push(node: LxcHost, positional: list[str], chosen: dict[str, str]) -> int:
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
    """Open the target; it gets the mode asked for, or if it is new 0666 without the umask."""
    asked = chosen.get("perms")
    try:
        mode = int(asked or "666", 8)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0 if asked else mode)
    except ValueError:
        raise PctError(f"invalid mode: '{asked}'\n", 0) from None
    except OSError as error:
        raise PctError(f"failed to create file: {path}: {error.strerror}\n", 0) from None
    if asked:
        os.fchmod(number, mode)
    return number


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
