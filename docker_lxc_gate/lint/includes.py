"""What profiles include from their own apparmor.d: the files, and a profile's rules in them.

An include that leads out of that directory, by its name or by a link, is left alone: only
apparmor_parser follows it. Source: apparmor.d(5), "#include mechanism".
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from docker_lxc_gate.formats.apparmor_profile import is_skipped, statements
from docker_lxc_gate.lint.source import Kind, Source
from docker_lxc_gate.machines import regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker_lxc_gate.formats.apparmor_profile import Profile, Statement

#: So many files are opened because of others' includes, and so many rules of a profile looked at.
_MOST_FILES, _MOST_RULES = 2000, 20_000


class Placed(NamedTuple):
    """A rule of a profile, and the file that it is in."""

    source: Source
    rule: Statement


@dataclass
class Rules:
    """A profile's rules, those that it includes among them.

    Attributes:
        found: in the order in which the parser reads them.
        unknown: what is included and not among the files.
    """

    found: list[Placed] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Includes:
    """The files that can be included by those that are linted.

    Args:
        sources: all files that are linted.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._files = {(each.base, each.inside): each for each in sources if each.inside}
        self._folders: dict[tuple[str, str], list[Source]] = {}
        for (base, inside), each in sorted(self._files.items()):
            folder = posixpath.dirname(inside)
            if folder:
                self._folders.setdefault((base, folder), []).append(each)

    def rules(self, source: Source, profile: Profile) -> Rules:
        """Return a profile's own rules and those that it includes.

        Args:
            source: the file that the profile is in.
            profile: the profile.
        """
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
            files = self._of(source.base, name) if name else []
            if not files:
                rules.unknown.append(name or each.included)
            for file in files:
                if file.inside not in seen:
                    seen.add(file.inside)
                    own = [s for s in statements(file.text) if not s.depth]
                    wanted = [s for s in own if s.kind in {"rule", "include"}]
                    self._add(rules, file, wanted, seen)

    def _of(self, base: str, name: str) -> list[Source]:
        if file := self._files.get((base, name)):
            return [file]
        return self._folders.get((base, name), [])


def included(said: Statement, base: str) -> str:
    """Return what an include names, from its apparmor.d on; empty if that is not below it."""
    name = said.included
    if not base or not (said.of_base or name.startswith("/")):
        return ""
    place = posixpath.normpath(posixpath.join(base, name))
    return posixpath.relpath(place, base) if place.startswith(f"{base.rstrip('/')}/") else ""


def missing(sources: Sequence[Source]) -> Iterator[Source]:
    """Open what profiles include within their blocks and what is not among the files yet.

    Args:
        sources: of this machine. What cannot be read is left out.
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
        content, mode = regular_file.read(Path(source.base, name))
    except (OSError, ValueError):
        return None
    shown = source.path.removesuffix(source.inside)
    return Source(f"{shown}{name}", content, Kind.INCLUDED, mode, source.base, name, source.alone)
