"""A machine whose every answer somebody else chose."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from tests.doubles.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Sequence


class Held:
    """A command that runs for ever."""

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Foreign(Answering):
    """It gives these answers in turn, and the last one again and again."""

    def __init__(self, answers: Sequence[tuple[int, bytes, bytes]]) -> None:
        turns = chain(answers, repeat(answers[-1]))
        super().__init__(lambda _: next(turns), "a machine")

    def hold(self, argv: Sequence[str], word: str) -> Held:
        del argv, word
        return Held()
