"""What profiles include: the files, a profile's rules in them, and what the parser would open.

An include that leads out of the own apparmor.d, by its name or by a link, is left alone: only
apparmor_parser follows it, and it may name /etc/shadow, a device or a pipe. So what the parser
takes for an include is looked for everywhere, in comments, too: its scanner takes a ``#`` in some
rules for the beginning of a name. Sources: apparmor.d(5), "#include mechanism"; AppArmor 4.1,
parser_lex.l and parser_include.c.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from docker_lxc_gate import patterns
from docker_lxc_gate.formats.apparmor_profile import Profile, Statement, is_skipped, statements
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.machines.regular_file import read

#: So many files are opened because of others' includes, and so many rules of a profile looked at.
_MOST_FILES, _MOST_RULES = 2000, 20_000


class Placed(NamedTuple):
    """A rule of a profile, and the file that it is in."""

    source: Source
    rule: Statement


@dataclass
class Rules:
    """A profile's rules as the parser reads them, and what it includes that is ``unknown`` here."""

    found: list[Placed] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Includes:
    """The files that can be included by those that are linted, among all that are linted."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._files = {(each.base, each.inside): each for each in sources if each.inside}
        self._folders: dict[tuple[str, str], list[Source]] = {}
        for (base, inside), each in sorted(self._files.items()):
            folder = posixpath.dirname(inside)
            if folder:
                self._folders.setdefault((base, folder), []).append(each)

    def rules(self, source: Source, profile: Profile) -> Rules:
        """Return the own rules of a profile in a file, and those that it includes."""
        rules = Rules()
        self._add(rules, source, profile.rules, {source.inside})
        return rules

    def _add(self, rules: Rules, source: Source, said: Sequence[Statement], seen: set[str]) -> None:
        for each in said:
            if len(rules.found) >= _MOST_RULES:
                return
            if each.kind == "rule":
                rules.found.append(Placed(source, each))
                continue
            name = included(each, source.base)
            file = self._files.get((source.base, name)) if name else None
            files = [file] if file else self._folders.get((source.base, name), [])
            if not files:
                rules.unknown.append(name or each.included)
            for file in files:
                if file.inside not in seen:
                    seen.add(file.inside)
                    own = [s for s in statements(file.text) if not s.depth]
                    wanted = [s for s in own if s.kind in {"rule", "include"}]
                    self._add(rules, file, wanted, seen)


def included(said: Statement, base: str) -> str:
    """Return what an include names, from its apparmor.d on; empty if that is not below it."""
    name = said.included
    if not base or not (said.of_base or name.startswith("/")):
        return ""
    place = posixpath.normpath(posixpath.join(base, name))
    return posixpath.relpath(place, base) if place.startswith(f"{base.rstrip('/')}/") else ""


def missing(sources: Sequence[Source]) -> Iterator[Source]:
    """Open what profiles of this machine include within their blocks and what is not there yet.

    What cannot be read is left out.
    """
    known = {(each.base, each.inside) for each in sources}
    waiting = [each for each in sources if each.base and each.kind in {Kind.PROFILE, Kind.INCLUDED}]
    opened = 0
    while waiting:
        source = waiting.pop()
        for said in statements(source.text):
            inside = said.depth or source.kind is Kind.INCLUDED
            name = included(said, source.base) if said.kind == "include" and inside else ""
            for part in _below(source.base, name) if name else ():
                if (source.base, part) in known or opened >= _MOST_FILES:
                    continue
                known.add((source.base, part))
                opened += 1
                if new := _opened(source, part):
                    waiting.append(new)
                    yield new


def _below(base: str, name: str) -> list[str]:
    """Return the files that a name stands for: one, or all of a directory; none behind a link."""
    place = Path(base, name)
    try:
        if os.path.realpath(place) != str(place):
            return []
        if not place.is_dir():
            return [name]
        return sorted(
            f"{name}/{each.name}"
            for each in os.scandir(place)
            if each.is_file(follow_symlinks=False) and not is_skipped(each.name)
        )
    except (OSError, ValueError):
        return []


def _opened(source: Source, name: str) -> Source | None:
    """Return an included file, named as its reader names the one that includes it."""
    try:
        content = read(Path(source.base, name))
    except (OSError, ValueError):
        return None
    shown = source.path.removesuffix(source.inside)
    return Source(f"{shown}{name}", content, Kind.INCLUDED, source.base, name, source.alone)


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
_TOO_MANY = f"it includes more than {_MOST_FILES} files"


class _Refused(Exception):
    """The parser would open what it may not."""


def refused(source: Source, *, here: bool) -> str:
    """Return why a profile is not given to the parser; empty if it may be.

    If it is not ``here``, its directory is a node's, and root's own: there the names in the profile
    are judged, and nothing is opened.
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
        return [read(place).decode("utf-8", "surrogateescape")]
    except OSError:
        return []
    except ValueError as error:
        raise _Refused(f"{place}: {error}") from error
