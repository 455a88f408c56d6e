"""Somebody else's file: nothing but a regular file of a limited size is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: The largest file that is read (bytes).
LARGEST = 1 << 20


@contextmanager
def opened(place: Path | str, folder: int | None = None) -> Iterator[BinaryIO]:
    """Open a file for reading; a link is not followed, and a pipe is not waited for.

    The path begins in the open directory ``folder``, if one is given. Raises ValueError if it is no
    regular file, OSError if it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(place, flags, dir_fd=folder), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        yield file


def read(place: Path, largest: int = LARGEST) -> bytes:
    """Return a file's content; raises as :func:`opened`, and ValueError if it is too large."""
    with opened(place) as file:
        return limited(file.read(largest + 1), largest)


def limited(content: bytes, largest: int = LARGEST) -> bytes:
    """Return a file's content, or raise ValueError if it is too large."""
    if len(content) > largest:
        size = f"{largest >> 20} MiB" if largest >> 20 else f"{largest >> 10} KiB"
        raise ValueError(f"it is larger than {size}")
    return content
