"""Whether the profiles that containers are given are those that the files define."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from docker_lxc_gate.formats.apparmor_profile import profiles, statements
from docker_lxc_gate.lint.finding import at_file
from docker_lxc_gate.lint.rules.profile import alike
from docker_lxc_gate.lint.source import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker_lxc_gate.formats.apparmor_profile import Profile
    from docker_lxc_gate.lint.finding import Finding
    from docker_lxc_gate.lint.source import Source


#: The one tunable that is known to be read by nothing, whatever guides say.
_READ_BY_NOTHING = "apparmor_nesting_profiles"


class Use(NamedTuple):
    """That a file gives a container a profile, and where it says so."""

    name: str
    path: str
    line: int


def defined(sources: Sequence[Source]) -> dict[str, list[tuple[Source, Profile]]]:
    """Return each profile's name with the files that it is in."""
    found: dict[str, list[tuple[Source, Profile]]] = defaultdict(list)
    for source in sources:
        if source.kind in {Kind.PROFILE, Kind.INCLUDED}:
            for profile in profiles(source.text):
                found[profile.name].append((source, profile))
    return dict(found)


def check(
    sources: Sequence[Source],
    known: Mapping[str, Sequence[tuple[Source, Profile]]],
    uses: Sequence[Use],
    whole: bool,
) -> Iterator[Finding]:
    """Yield where the files do not agree.

    Args:
        sources: all that are linted.
        known: see :func:`defined`.
        uses: what containers are given.
        whole: whether a whole ``/etc/apparmor.d`` is among the files, so that what is not defined
            there is not loaded.
    """
    by_look = {alike(name): name for name in known}
    for use in uses:
        like = by_look.get(alike(use.name), "")
        if use.name not in known and (like or whole):
            fix = f"The profile is called {like}: use one name everywhere." if like else ""
            said = f"no file defines the profile {use.name}"
            yield at_file("profile-unknown", use.path, use.line, said, fix=fix)
    for name, places in known.items():
        together: dict[str, list[tuple[Source, int]]] = defaultdict(list)
        for source, profile in places:
            together[source.base].append((source, profile.line))
        for base, same in together.items():
            files = {source.path for source, _ in same}
            if base and len(files) > 1:
                source, line = max(same, key=lambda place: place[0].path)
                others = ", ".join(sorted(files - {source.path}))
                yield source.at(
                    "profile-defined-twice",
                    line,
                    f"the profile {name} is also in {others}",
                )
    yield from _tunables(sources)


def _tunables(sources: Sequence[Source]) -> Iterator[Finding]:
    variable = f"@{{{_READ_BY_NOTHING}}}"
    texts = [s for s in sources if s.kind in {Kind.PROFILE, Kind.INCLUDED, Kind.TUNABLES}]
    named = [source for source in texts if variable in source.text]
    sets = [
        (source, said)
        for source in named
        for said in statements(source.text)
        if said.assigned == _READ_BY_NOTHING
    ]
    if sum(source.text.count(variable) for source in named) == len(sets):
        for source, said in sets:
            yield source.at("tunable-without-effect", said.line, f"nothing reads {variable}")
