"""A machine whose every answer somebody else chose."""

from collections.abc import Sequence
from itertools import chain, repeat

from tests.doubles.answering import Answering


class Foreign(Answering):
    """It gives these answers in turn, the last one again and again; what it holds never ends."""

    def __init__(self, answers: Sequence[tuple[int, bytes, bytes]]) -> None:
        turns = chain(answers, repeat(answers[-1]))
        super().__init__(lambda _: next(turns), "a machine")

    def hold(self, argv: Sequence[str], word: str) -> "Foreign":
        return self

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        """It goes on."""
