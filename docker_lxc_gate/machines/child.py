"""A command that was started and is still running, as those who use it see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: How long a released command may take to end: it may have to wait for another one (seconds).
RELEASE_TIMEOUT = 3600.0
#: An exit code, standard output and standard error.
Answer = tuple[int, bytes, bytes]
#: Given both outputs so far, whether they are whole.
Until = Callable[[bytearray, bytearray], bool]


class TooMuch(Exception):
    """An output is longer than its limit."""

    def __str__(self) -> str:
        return "its output is too long"


class Late(Exception):
    """A deadline has passed."""


class Hold(Protocol):
    """A command that is running."""

    def alive(self) -> bool:
        """Whether it still runs and can still be reached."""

    def release(self) -> None:
        """End its input and wait for its end; a dead one is released already."""


class Child(Hold, Protocol):
    """A command that was started.

    A ``deadline`` is on the monotonic clock (seconds), a ``limit`` is each output's (bytes). Raises
    Late if the command, or another one that holds its outputs open, did not end in time, and
    TooMuch if an output is longer.
    """

    def exchange(
        self, line: bytes, deadline: float, limit: int, until: Until | None = None
    ) -> tuple[bytes, bytes]:
        """Feed it and return both outputs, when ``until`` accepts them, or at their end.

        Its input stays open for more if there is an ``until``.
        """

    def converse(self, stdin: bytes, deadline: float, limit: int) -> Answer:
        """Feed it, read both outputs to their end, and return them after its exit code."""

    def hang_up(self) -> None:
        """Close its input and outputs, so that a shell ends; it is not waited for."""
