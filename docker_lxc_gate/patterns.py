r"""Regular expressions for text that somebody else chose: RE2, which takes linear time.

They are written as for :mod:`re`, which the linter forbids, with these differences:

- There is no look-around and no backreference, and a repeat is counted up to 1,000 only. Write
  ``*``, which costs nothing here, or a parser.
- Flags stand in the pattern: ``(?i)``, ``(?m)``, ``(?s)``. The end of the text is ``\z``, and
  ``$`` without ``(?m)`` means the same.
- ``\w``, ``\s`` and ``\b`` know ASCII alone.
- A replacement is taken literally, or is a function.

One search takes linear time; many on the same text need not. Do not call ``match`` at each place of
a long text, and let no match depend on text far behind its own end, as in ``a(.*b)?``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, AnyStr, Generic

import re2

#: A pattern is none, or needs too much memory.
Invalid = re2.error
#: What has a meaning in a pattern.
_ESCAPED = {ord(mark): f"\\{mark}" for mark in r"\.+*?()|[]{}^$"}
#: Lone surrogates, of which UTF-8 knows nothing, and private characters that stand in for them.
_STAND_INS = {half: 0x10F800 + half - 0xD800 for half in range(0xD800, 0xE000)}


class Match(Generic[AnyStr]):
    """Where a pattern fits, and what its groups are."""

    __slots__ = ("_names", "_spans", "string")

    def __init__(self, string: AnyStr, spans: list[tuple[int, int]], names: dict[str, int]) -> None:
        self.string: AnyStr = string
        self._spans, self._names = spans, names

    def __getitem__(self, group: int | str) -> AnyStr | Any:
        start, end = self.span(group)
        return None if start < 0 else self.string[start:end]

    def groups(self, default: AnyStr | None = None) -> tuple[Any, ...]:
        """Return all groups."""
        groups = (self[number] for number in range(1, len(self._spans)))
        return tuple(default if group is None else group for group in groups)

    def span(self, group: int | str = 0) -> tuple[int, int]:
        """Return where a group begins and ends; -1 if it is no part of the match."""
        return self._spans[self._names[group] if isinstance(group, str) else group]

    def start(self, group: int | str = 0) -> int:
        """Return where a group begins."""
        return self.span(group)[0]

    def end(self, group: int | str = 0) -> int:
        """Return where a group ends."""
        return self.span(group)[1]


class Pattern(Generic[AnyStr]):
    """A compiled pattern."""

    def __init__(self, pattern: AnyStr) -> None:
        options = re2.Options()
        options.log_errors = False
        if isinstance(pattern, bytes):
            options.encoding = re2.Options.Encoding.LATIN1
        self.pattern: AnyStr = pattern
        self._compiled = re2.compile(_for_re2(pattern), options)
        names = self._compiled.groupindex.items()
        self._names = {name if isinstance(name, str) else name.decode(): n for name, n in names}
        self._groups: int = self._compiled.groups

    def search(self, text: AnyStr) -> Match[AnyStr] | None:
        """Return the first place where the pattern fits."""
        return self._found(text, self._compiled.search(_for_re2(text)))

    def match(self, text: AnyStr) -> Match[AnyStr] | None:
        """Return whether the text begins so."""
        return self._found(text, self._compiled.match(_for_re2(text)))

    def fullmatch(self, text: AnyStr) -> Match[AnyStr] | None:
        """Return whether the whole text is so."""
        return self._found(text, self._compiled.fullmatch(_for_re2(text)))

    def finditer(self, text: AnyStr) -> Iterator[Match[AnyStr]]:
        """Yield each place where the pattern fits."""
        last = None
        for raw in self._compiled.finditer(_for_re2(text)):
            if last != (last := raw.span()):  # google-re2 tells some empty matches twice
                yield self._match(text, raw)

    def findall(self, text: AnyStr) -> list[Any]:
        """Return the groups of each match: all if there are several, or the match itself."""
        empty = text[:0]
        if self._groups > 1:
            return [place.groups(empty) for place in self.finditer(text)]
        return [place[self._groups] or empty for place in self.finditer(text)]

    def split(self, text: AnyStr) -> list[Any]:
        """Return what is between the matches, and the groups of each match."""
        pieces: list[Any] = []
        end = 0
        for place in self.finditer(text):
            pieces.append(text[end : place.start()])
            pieces.extend(place.groups())
            end = place.end()
        pieces.append(text[end:])
        return pieces

    def sub(
        self, new: AnyStr | Callable[[Match[AnyStr]], AnyStr], text: AnyStr, count: int = 0
    ) -> AnyStr:
        """Return the text with its matches replaced, or the first ones if there is a count."""
        pieces: list[AnyStr] = []
        end = 0
        for number, place in enumerate(self.finditer(text), 1):
            pieces += (text[end : place.start()], new(place) if callable(new) else new)
            end = place.end()
            if number == count:
                break
        pieces.append(text[end:])
        return text[:0].join(pieces)

    def _found(self, text: AnyStr, raw: Any) -> Match[AnyStr] | None:
        return None if raw is None else self._match(text, raw)

    def _match(self, text: AnyStr, raw: Any) -> Match[AnyStr]:
        # span() asks for the number of groups each time, which takes four times as long.
        return Match(text, raw._spans, self._names)  # noqa: SLF001


_kept: Any = lru_cache(maxsize=512)(Pattern)


def compile(pattern: AnyStr) -> Pattern[AnyStr]:  # noqa: A001 - as re has it
    """Return a compiled pattern."""
    compiled: Pattern[AnyStr] = _kept(pattern)
    return compiled


def search(pattern: AnyStr, text: AnyStr) -> Match[AnyStr] | None:
    """Return the first place where a pattern fits."""
    return compile(pattern).search(text)


def match(pattern: AnyStr, text: AnyStr) -> Match[AnyStr] | None:
    """Return whether a text begins so."""
    return compile(pattern).match(text)


def fullmatch(pattern: AnyStr, text: AnyStr) -> Match[AnyStr] | None:
    """Return whether a whole text is so."""
    return compile(pattern).fullmatch(text)


def findall(pattern: AnyStr, text: AnyStr) -> list[Any]:
    """Return the groups of each match: all if there are several, or the match itself."""
    return compile(pattern).findall(text)


def split(pattern: AnyStr, text: AnyStr) -> list[Any]:
    """Return what is between the matches, and the groups of each match."""
    return compile(pattern).split(text)


def sub(
    pattern: AnyStr, new: AnyStr | Callable[[Match[AnyStr]], AnyStr], text: AnyStr, count: int = 0
) -> AnyStr:
    """Return a text with the matches replaced, or the first ones if there is a count."""
    return compile(pattern).sub(new, text, count)


def escape(text: str) -> str:
    """Return a pattern that fits this text alone, also as ``grep -E`` reads it."""
    return text.translate(_ESCAPED)


def _for_re2(text: AnyStr) -> AnyStr | bytes:
    """Return the text in a form that RE2 takes, with as many characters."""
    if isinstance(text, bytes):
        return text
    if text.isascii():
        return text.encode()  # places in bytes need no counting
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.translate(_STAND_INS)
    return text
