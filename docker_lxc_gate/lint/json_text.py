"""JSON with the place of every key, so that a finding can name its line and column."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import daemon_json

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Finding, Source


#: Where something stands in a document: keys of objects and numbers in lists, from the outside.
Path = tuple[str | int, ...]

#: Of what stands deeper no place is kept: each place is as long as its path.
_DEEPEST = 30
_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = patterns.compile(rf'(?P<key>{_STRING})\s*:|{_STRING}|[{{}}\[\],]|[^\s{{}}\[\]:,"]+')


@dataclass
class Document:
    """What a file holds, and where in its text; lines and columns count from 1."""

    value: Any
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    twice: list[Path] = field(default_factory=list)

    def place(self, path: Path) -> tuple[int, int]:
        """Return the line and column of what stands at a path, or of what holds it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))


def read(source: Source) -> tuple[Document | None, list[Finding]]:
    """Return a file's content, None where it is no JSON, and what is wrong with its syntax.

    A byte order mark decides the encoding, as it does for dockerd; a blank file holds nothing.
    """
    try:
        text = daemon_json.text(source.content)
        value = json.loads(text, parse_constant=daemon_json.no_number) if text.strip() else {}
    except json.JSONDecodeError as error:
        cause = f"not JSON: {error.msg}"
        return None, [source.at("json-syntax", error.lineno, cause, column=error.colno)]
    except UnicodeDecodeError as error:
        line = source.content.count(b"\n", 0, error.start) + 1
        return None, [source.at("json-syntax", line, f"not in UTF-8: {error.reason}")]
    except RecursionError:
        return None, [source.at("json-syntax", 0, "nested too deep")]
    except ValueError as error:
        return None, [source.at("json-syntax", 0, f"not JSON: {error}")]
    document = _placed(text, value)
    findings = [
        source.at("json-key-twice", line, f"the key '{path[-1]}' is there twice", column=column)
        for path in document.twice
        for line, column in [document.place(path)]
    ]
    return document, findings


def _placed(text: str, value: Any) -> Document:
    """Return a valid document with the places of its keys and of the items of its lists."""
    document, path = Document(value), list[str | int]()
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    for match in _TOKEN.finditer(text):
        line = bisect_right(starts, match.start())
        piece, offset = match[0], (line, match.start() - starts[line - 1] + 1)
        if piece in "{[":
            _note(document, path, offset)
            path.append("" if piece == "{" else 0)
        elif piece in "}]":
            path.pop()
        elif piece == "," and isinstance(path[-1], int):
            path[-1] += 1
        elif piece.startswith('"') and isinstance(path[-1:][0] if path else 0, str):
            if not match["key"]:
                continue  # a value, whose key is noted
            path[-1] = json.loads(match["key"])
            if len(path) > _DEEPEST:
                continue
            if tuple(path) in document.places:
                document.twice.append(tuple(path))
            document.places[tuple(path)] = offset
        else:
            _note(document, path, offset)
    return document


def _note(document: Document, path: list[str | int], offset: tuple[int, int]) -> None:
    if path and len(path) <= _DEEPEST and isinstance(path[-1], int):
        document.places[tuple(path)] = offset
