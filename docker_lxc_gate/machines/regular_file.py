"""Somebody else's file: nothing but a regular file of a limited size is read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: The largest file that is read (bytes).
LARGEST = 1 << 20


def read(place: Path, largest: int = LARGEST) -> tuple[bytes, int]:
    """Return a file's content and its permissions; a link is not followed.

    Raises:
        ValueError: it is no regular file, or too large.
        OSError: it cannot be read.
    """
    opened = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        content = file.read(largest + 1)
    return limited(content, largest), stat.S_IMODE(about.st_mode)


def limited(content: bytes, largest: int = LARGEST) -> bytes:
    """Return a file's content, or raise ValueError if it is too large."""
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest >> 20} MiB")
    return content
