"""What apparmor_parser would open because of a profile, and whether all of that may be read.

An include may name /etc/shadow, a device or a pipe, by its name or by a link. What the parser takes
for an include is looked for everywhere, in comments, too: its scanner takes a ``#`` in some rules
for the beginning of a name. Source: AppArmor 4.1, parser_lex.l and parser_include.c.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.formats.apparmor_profile import is_skipped
from docker_lxc_gate.machines.regular_file import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.lint.source import Source

#: Where the parser looks by itself.
OWN = "/etc/apparmor.d"
_WORD = patterns.compile(r"#include|\b(?:include|abi)[ \t\r\n]|\babi\b")
#: What a word follows if it is only part of one, to the parser.
_INSIDE = frozenset("/.*@:&-")
_NAME = patterns.compile(
    r'<\s*"?(?P<searched>[^">\n]{1,999})"?>|"(?P<quoted>[^"]{1,999})"|'
    r'(?P<plain>[^ \t\r\n"<>]{1,999})(?:[ \t\r\n"<>]|\z)'
)
_BLANKS, _FAR = " \t\r\n\v\f", 2048
#: The parser reads them as more than a letter of a name.
_SPECIAL = patterns.compile(r'[\\",!]')
_MOST_FILES = 2000
_TOO_MANY = f"it includes more than {_MOST_FILES} files"


class _Refused(Exception):
    """The parser would open what it may not."""


def refused(source: Source, *, here: bool) -> str:
    """Return why a profile is not given to the parser; empty if it may be.

    Args:
        source: of the kind PROFILE.
        here: whether its directory is one of this machine. On a node it is root's own: there the
            names in the profile are judged, and nothing is opened.
    """
    base = source.base or OWN
    try:
        _require_within(os.path.realpath(base) if here else base, source, here=here)
    except _Refused as error:
        return str(error)
    return ""


def _require_within(base: str, source: Source, *, here: bool) -> None:
    seen, waiting = set[Path](), [source.text]
    while waiting:
        for name in _names(waiting.pop()):
            for place in _places(base, name, here=here):
                if place not in seen:
                    seen.add(place)
                    waiting += _text(place) if here else ()
        if len(seen) > _MOST_FILES:
            raise _Refused(_TOO_MANY)


def _names(text: str) -> Iterator[str]:
    for number, word in enumerate(_WORD.finditer(text)):
        if number > _MOST_FILES:
            raise _Refused(_TOO_MANY)
        start = _after(text, word.end())
        exists = _after(text, start + len("if"))
        name = _after(text, exists + len("exists"))
        if text.startswith("if", start) and text.startswith("exists", exists):
            start = name if name > exists + len("exists") else start
        before = text[word.start() - 1 : word.start()]
        bare = word[0] == "abi"  # the parser wants no blank before a name: abi"4.0", abi<4.0>
        if before in _INSIDE or (bare and before == "<") or start == len(text):
            continue
        if (named := _NAME.match(text[start : start + _FAR])) is None:
            raise _Refused(f"what it includes cannot be read: '{text[start : start + 40]}'")
        said = (named["searched"] or named["quoted"] or named["plain"].rstrip(",!")).strip(_BLANKS)
        if bare and said.startswith("/") and not os.path.lexists(said):
            continue  # a comment, or the name in abi "abi/4.0"; if not, there is nothing to open
        if _SPECIAL.search(said):
            raise _Refused(f"the name of the include '{said}' cannot be read")
        if said:
            yield said


def _after(text: str, blanks: int) -> int:
    """Return where the blanks at a place end."""
    while text[blanks : blanks + 1] in {" ", "\t", "\r", "\n"}:
        blanks += 1
    return blanks


def _places(base: str, name: str, *, here: bool) -> list[Path]:
    """Return the files that an include names: one, or all of a directory."""
    named = f"{base}/{name}" if not name.startswith("/") else name
    place = Path(os.path.realpath(named) if here else os.path.normpath(named))
    if not place.is_relative_to(base):
        raise _Refused(f"the include '{name}' leads out of {base}")
    if not here or not place.is_dir():
        return [place]
    files = [each.resolve() for each in sorted(place.iterdir()) if not is_skipped(each.name)]
    if led := next((each for each in files if not each.is_relative_to(base)), None):
        raise _Refused(f"the include '{name}' leads to {led}, out of {base}")
    return [each for each in files if each.is_file()]


def _text(place: Path) -> list[str]:
    """Return the text of an included file; none if it is absent or closed to us, too."""
    try:
        return [read(place)[0].decode("utf-8", "surrogateescape")]
    except OSError:
        return []
    except ValueError as error:
        raise _Refused(f"{place}: {error}") from error
