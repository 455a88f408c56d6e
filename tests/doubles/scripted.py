"""A transport that knows only what it was told, and fails on everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Sequence

Answer = tuple[int, bytes, bytes]


class Scripted(Base):
    """Answers each argv from a table; an argv that is not in it is an error of the test."""

    machine = "scripted"

    def __init__(self, answers: dict[tuple[str, ...], Answer]) -> None:
        self._answers = answers
        self.ran: list[tuple[str, ...]] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        key = tuple(argv)
        if key not in self._answers:
            raise AssertionError(f"nobody said what {key} answers")
        self.ran.append(key)
        code, out, err = self._answers[key]
        return CommandResult(key, code, out, err, self.machine, 0.0, 0.0)
