"""A profile's text as statements and profiles, without what it includes.

It is read for linting only: what it means, apparmor_parser decides. Source: apparmor.d(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a text is cut into: strings, comments, line ends, brackets, and what is between them.
_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\\.|(?<!\S)#[^\n]*|\n|[(){}]|,(?=[\s}]|\Z)'
    r'|[^\s"\\(){},#]+|[ \t\r\f\v]+|.',
    re.DOTALL,
)
_INCLUDE = re.compile(r'#?\s?include\s+(?:if\s+exists\s+)?[<"]?(?P<name>[^>"\s]*)')
_ASSIGNED = re.compile(r"[@$]\{?(?P<name>\w+)\}?\s*\+?=")
_HEADER = re.compile(
    r'(?:(?P<hat>hat\s+|\^)|profile\s+)?(?P<name>"[^"]*"|[^\s"(]+)'
    r'(?:\s+(?P<attached>"[^"]*"|(?!flags\b|xattrs\b)[^\s"(]+))?(?P<rest>.*)',
    re.DOTALL,
)
_FLAGS = re.compile(r"flags\s*=\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Statement:
    """One statement; ``kind`` is open, close, include, assign or rule.

    ``text`` has one blank between its words, and neither comma nor brace at its end. ``depth``
    is how many blocks it stands in.
    """

    kind: str
    text: str
    line: int
    depth: int

    @property
    def included(self) -> str:
        """What an include names."""
        found = _INCLUDE.match(self.text)
        return found["name"] if found else ""

    @property
    def assigned(self) -> str:
        """The variable that an assignment sets."""
        found = _ASSIGNED.match(self.text)
        return found["name"] if found else ""


@dataclass(frozen=True)
class Profile:
    """One profile at the outermost level; its children's rules are not its own."""

    name: str
    attached: str
    flags: frozenset[str]
    line: int
    rules: list[Statement] = field(default_factory=list)


class _Reader:
    """Where in a text the reading is: the statement so far, and what it stands in."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.line, self.began, self.depth, self.round, self.glob = 1, 1, 0, 0, 0

    def statement(self, kind: str) -> Statement | None:
        """Return the statement that ends here, and begin the next one."""
        text = " ".join("".join(self.parts).split())
        self.parts, self.round, self.glob = [], 0, 0
        return Statement(kind, text, self.began, self.depth) if text else None

    @property
    def at_word(self) -> bool:
        """Whether a new word begins here."""
        return not self.parts or self.parts[-1].isspace()

    def add(self, piece: str) -> None:
        """Let a piece be part of the statement."""
        if not self.parts:
            if piece.isspace():
                return
            self.began = self.line
        self.parts.append(piece)


@lru_cache(maxsize=64)  # several rules ask for the same text
def statements(text: str) -> tuple[Statement, ...]:
    """Return the statements of a profile's text, in order."""
    return tuple(_statements(text))


def _statements(text: str) -> Iterator[Statement]:
    reader = _Reader()
    for found in _TOKEN.finditer(text):
        piece = found[0]
        follows = text[found.end() : found.end() + 1]
        for said in _read(reader, piece, follows):
            if said is not None:
                yield said
        reader.line += piece.count("\n")
    if (left := reader.statement("rule")) is not None:
        yield left


def _read(reader: _Reader, piece: str, follows: str) -> Iterator[Statement | None]:
    begun = "".join(reader.parts[:40]) if piece == "\n" else ""
    if piece.startswith("#") and reader.at_word and not _INCLUDE.match(piece):
        return  # a comment
    if piece.startswith("#") and (not reader.at_word or not reader.parts):
        reader.add(piece)
    elif piece == "\n" and (_INCLUDE.match(begun) or _ASSIGNED.match(begun)):
        yield reader.statement("include" if _INCLUDE.match(begun) else "assign")
    elif piece == "{" and not reader.round and _opens(reader, follows):
        yield reader.statement("open")
        reader.depth += 1
    elif piece == "}" and not reader.glob:
        yield reader.statement("rule")
        reader.depth = max(0, reader.depth - 1)
        yield Statement("close", "}", reader.line, reader.depth)
    elif piece == "," and not reader.round and not reader.glob:
        yield reader.statement("rule")
    else:
        reader.round += {"(": 1, ")": -1}.get(piece, 0)
        reader.glob += {"{": 1, "}": -1}.get(piece, 0)
        reader.add(piece)


def _opens(reader: _Reader, follows: str) -> bool:
    """Whether a brace begins a block: it stands alone; one in a path does not."""
    return bool(reader.parts) and reader.parts[-1].isspace() and (not follows or follows.isspace())


def profiles(text: str) -> list[Profile]:
    """Return the profiles of a text, each with the rules that are its own."""
    found: list[Profile] = []
    for said in statements(text):
        header = _HEADER.match(said.text) if said.kind == "open" and not said.depth else None
        if header and not header["hat"]:
            flags = _FLAGS.search(header["rest"])
            found.append(
                Profile(
                    header["name"].strip('"'),
                    (header["attached"] or "").strip('"'),
                    frozenset(re.split(r"[\s,]+", flags[1].strip())) if flags else frozenset(),
                    said.line,
                )
            )
        elif found and said.depth == 1 and said.kind in {"rule", "include"}:
            found[-1].rules.append(said)
    return found
