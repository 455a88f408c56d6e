"""All rules over all files: those about one file, and those about how files agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from docker_lxc_gate.formats.apparmor_profile import statements
from docker_lxc_gate.formats.container_config import NO_PROFILE
from docker_lxc_gate.lint import json_text
from docker_lxc_gate.lint.finding import Finding, Kind, Severity, Source
from docker_lxc_gate.lint.includes import Includes
from docker_lxc_gate.lint.phoenix import description
from docker_lxc_gate.lint.rules import (
    container_config,
    container_confinement,
    daemon_json,
    profile,
    scripts,
)
from docker_lxc_gate.lint.rules.profile import Assignment
from docker_lxc_gate.lint.shell_text import commands

if TYPE_CHECKING:
    from docker_lxc_gate.lint.rules.tools import Tools


#: How many findings of one problem and severity are shown of a file: a stranger's may be wrong in
#: half a million lines, and each one is masked and printed.
MOST = 100


def check(sources: Sequence[Source], with_tools: Tools | None = None) -> list[Finding]:
    """Return what is wrong with files that are linted together, by file, line and problem.

    Without tools, they are judged by their bytes alone.
    """
    try:
        found = _found(sources, with_tools)
        return sorted(found, key=lambda each: (each.path, each.line, each.column, each.id))
    finally:  # what several rules asked for is kept no longer
        container_config.read.cache_clear()
        statements.cache_clear()
        commands.cache_clear()


def few(found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the first findings of each problem in each file; the last of them counts the others."""
    keys = [(each.path, each.id, each.severity) for each in found]
    number, seen = Counter(keys), Counter[tuple[str, str, Severity]]()
    for each, key in zip(found, keys, strict=True):
        seen[key] += 1
        if seen[key] < MOST or (seen[key] == MOST and number[key] == MOST):
            yield each
        elif seen[key] == MOST:
            more = f"{each.cause}; the same in {number[key] - MOST} more places"
            yield replace(each, cause=more)


def _found(given: Sequence[Source], with_tools: Tools | None) -> list[Finding]:
    found = [each.at("file-not-text", 0, each.no_text) for each in given if each.no_text]
    sources = [each for each in given if not each.no_text]
    includes = Includes(sources)
    found += _configurations(sources, includes)
    uses = list(_uses(sources))
    for source in _of(sources, Kind.DESCRIPTION):
        found += description.check(source, _of(sources, Kind.SCHEMA), uses)
    found += _profiles(sources, uses, with_tools, includes)
    found += _scripts(_of(sources, Kind.SCRIPT), with_tools)
    found += _settings(sources)
    if with_tools is not None:
        found += with_tools.missing()
    return found


def _of(sources: Sequence[Source], *kinds: Kind) -> list[Source]:
    return [source for source in sources if source.kind in kinds]


def _configurations(sources: Sequence[Source], includes: Includes) -> Iterator[Finding]:
    given = {use.name for use in _uses(sources)}
    rules = {
        name: includes.rules(*places[0])
        for name, places in profile.defined(sources).items()
        if name in given
    }
    for source in _of(sources, Kind.CONTAINER, Kind.LXC):
        yield from container_config.check(source)
        yield from container_confinement.id_map(source)
        yield from container_confinement.check(source, rules)


def _uses(sources: Sequence[Source]) -> Iterator[Assignment]:
    for source in _of(sources, Kind.CONTAINER, Kind.LXC):
        for option in container_config.read(source).all("lxc.apparmor.profile")[-1:]:
            if option.value not in NO_PROFILE:
                yield Assignment(option.value, source, option.line)


def _profiles(
    sources: Sequence[Source],
    uses: Sequence[Assignment],
    with_tools: Tools | None,
    includes: Includes,
) -> Iterator[Finding]:
    assigned = {use.name for use in uses}
    said = set[tuple[str, str, int]]()
    for source in _of(sources, Kind.PROFILE, Kind.INCLUDED):
        told = list(profile.check(source, assigned, includes))
        for each in told:  # several profiles may include the same file
            place = (each.id, each.path, each.line)
            if each.path == source.path or place not in said:
                yield each
            said.add(place)
        explained = any(each.id in profile.REFUSED for each in told)
        if with_tools and source.kind is Kind.PROFILE and not explained:
            yield from with_tools.parse(source)
    whole = any(source.base and not source.alone for source in sources)
    known = profile.defined(sources)
    yield from profile.agreement(sources, known, uses, whole=whole)


def _scripts(sources: Sequence[Source], with_tools: Tools | None) -> Iterator[Finding]:
    parsed = []
    for source in sources:
        broken = list(with_tools.syntax(source)) if with_tools else []
        yield from broken
        if not any(each.id == "script-syntax" for each in broken):
            yield from scripts.check(source)
            parsed.append(source)
    yield from with_tools.shellcheck(parsed) if with_tools else ()
    yield from scripts.not_executable(sources)


def _settings(sources: Sequence[Source]) -> Iterator[Finding]:
    units = _of(sources, Kind.UNIT)
    units.sort(key=lambda each: (each.name != "docker.service", each.name))
    if sum(unit.name == "docker.service" for unit in units) > 1:
        units = []  # whose is whose, nobody knows
    for source in _of(sources, Kind.DAEMON):
        yield from daemon_json.check(source, units)
    for source in _of(sources, Kind.SCHEMA):
        yield from json_text.read(source)[1]
