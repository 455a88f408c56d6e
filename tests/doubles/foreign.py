"""A machine whose every answer somebody else chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Sequence


class Held:
    """A command that runs for ever."""

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Foreign(Base):
    """It gives these answers in turn, and the last one again and again."""

    machine = "a machine"

    def __init__(self, answers: Sequence[tuple[int, bytes, bytes]]) -> None:
        self._answers, self._next = answers, 0

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        del stdin, timeout
        code, out, err = self._answers[min(self._next, len(self._answers) - 1)]
        self._next += 1
        return CommandResult(tuple(argv), code, out, err, self.machine, 0.0, 0.0)

    def hold(self, argv: Sequence[str], word: str) -> Held:
        del argv, word
        return Held()
