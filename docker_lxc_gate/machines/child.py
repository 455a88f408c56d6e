"""A command that was started and is still running, as those who use it see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Given both outputs so far, whether they are whole.
Until = Callable[[bytearray, bytearray], bool]


class Hold(Protocol):
    """A command that is running."""

    def alive(self) -> bool:
        """Whether it still runs and can still be reached."""

    def release(self) -> None:
        """End its input and wait for its end; a dead one is released already."""


class Child(Hold, Protocol):
    """A command that was started. Deadlines are on the monotonic clock (seconds).

    Its methods raise Late and TooMuch of :mod:`docker_lxc_gate.machines.process`.
    """

    def first_line(self, deadline: float) -> bytes:
        """Return its first line with its line feed, or its output if it ended without one."""

    def exchange(
        self, line: bytes, deadline: float, limit: int, until: Until
    ) -> tuple[bytes, bytes]:
        """Feed it and return both outputs, when ``until`` accepts them, or when it has ended.

        The ``limit`` is each output's (bytes).
        """

    def converse(self, stdin: bytes, deadline: float) -> tuple[int, bytes, bytes]:
        """Feed it, read both outputs to their end, and return them after its exit code."""

    def hang_up(self) -> None:
        """Close its input and outputs, so that a shell ends; it is not waited for."""
