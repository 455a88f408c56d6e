"""A transport that knows only what it was told, and fails on everything else."""

from collections.abc import Sequence

from tests.doubles.answering import Answering

Answer = tuple[int, bytes, bytes]


class Untold(AssertionError):
    """A double was asked what nobody told it."""


def by_name(argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command without the text of its script: ``sh NAME ARGS``, ``perl ARGS``.

    A test says which script is asked and of what, not how that is written.
    """
    words = tuple(argv)
    if "-c" in words[1:] and words[words.index("-c") - 1] == "sh":  # also env … sh -c
        at = words.index("-c")
        return (*words[:at], *words[at + 2 :])
    if words[0] == "perl" and "-e" in words:
        return ("perl", *words[words.index("-e") + 2 :])
    return words


class Scripted(Answering):
    """Answers each argv from a table; an argv that is not in it is an error of the test."""

    def __init__(self, answers: dict[tuple[str, ...], Answer]) -> None:
        super().__init__(self._told, "scripted")
        self._answers = answers

    def _told(self, words: list[str]) -> Answer:
        key = tuple(words)
        if key not in self._answers:
            key = by_name(words)
        if key not in self._answers:
            raise Untold(f"nobody said what {words} answers")
        return self._answers[key]
