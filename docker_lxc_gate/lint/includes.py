"""What profiles include: the files, and a profile's rules in them.

An include that leads out of the own apparmor.d, by its name or by a link, is left alone: it may
name /etc/shadow, a device or a pipe. Source: apparmor.d(5), "#include mechanism".
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

    placed: list[Placed] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Includes:
    """The files that can be included by those that are linted, among all that are linted."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._files = {(source.base, source.inside): source for source in sources if source.inside}
        self._folders: dict[tuple[str, str], list[Source]] = {}
        for (base, inside), source in sorted(self._files.items()):
            folder = posixpath.dirname(inside)
            if folder:
                self._folders.setdefault((base, folder), []).append(source)

    def rules(self, source: Source, profile: Profile) -> Rules:
        """Return the own rules of a profile in a file, and those that it includes."""
        rules = Rules()
        self._add(rules, source, profile.rules, {source.inside})
        return rules

    def _add(self, rules: Rules, source: Source, body: Sequence[Statement], seen: set[str]) -> None:
        for statement in body:
            if len(rules.placed) >= _MOST_RULES:
                return
            if statement.kind == "rule":
                rules.placed.append(Placed(source, statement))
                continue
            name = included(statement, source.base)
            file = self._files.get((source.base, name)) if name else None
            files = [file] if file else self._folders.get((source.base, name), [])
            if not files:
                rules.unknown.append(name or statement.included)
            for file in files:
                if file.inside not in seen:
                    seen.add(file.inside)
                    own = [s for s in statements(file.text) if not s.depth]
                    wanted = [s for s in own if s.kind in {"rule", "include"}]
                    self._add(rules, file, wanted, seen)


def included(statement: Statement, base: str) -> str:
    """Return what an include names, from its apparmor.d on; empty if that is not below it."""
    name = statement.included
    if not base or not (statement.of_base or name.startswith("/")):
        return ""
    place = posixpath.normpath(posixpath.join(base, name))
    return posixpath.relpath(place, base) if place.startswith(f"{base.rstrip('/')}/") else ""


def missing(sources: Sequence[Source]) -> Iterator[Source]:
    """Open what profiles of this machine include within their blocks and what is not there yet.

    What cannot be read is left out.
    """
    known = {(source.base, source.inside) for source in sources}
    waiting = [s for s in sources if s.base and s.kind in {Kind.PROFILE, Kind.INCLUDED}]
    opened = 0
    while waiting:
        source = waiting.pop()
        for line in statements(source.text):
            inside = line.depth or source.kind is Kind.INCLUDED
            name = included(line, source.base) if line.kind == "include" and inside else ""
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
            f"{name}/{entry.name}"
            for entry in os.scandir(place)
            if entry.is_file(follow_symlinks=False) and not is_skipped(entry.name)
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


#: A file that the parser opens: an include's, also a second one of a line, or that of an abi.
_NAMED = patterns.compile(
    r"(?:^|\s)#?(?:include(?: if exists)?|abi) ?(?:<([^>]*)>|\"([^\"]*)\"|([^\s<\"]+))"
)


def leading_out(source: Source) -> str:
    """Return what a profile includes from outside of its apparmor.d; empty if it does not."""
    base = source.base or OWN
    matches = (_NAMED.findall(statement.text) for statement in statements(source.text))
    names = ("".join(name) for names in matches for name in names)
    places = ((name, posixpath.normpath(posixpath.join(base, name))) for name in names)
    return next((name for name, place in places if not place.startswith(f"{base}/")), "")
