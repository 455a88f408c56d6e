"""All rules over all files: those about one file, and those about how files agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from docker_lxc_gate.formats.apparmor_profile import statements
from docker_lxc_gate.formats.container_config import NO_PROFILE
from docker_lxc_gate.lint.finding import Finding, Kind, Severity, Source
from docker_lxc_gate.lint.includes import Includes
from docker_lxc_gate.lint.rules import (
    container_config,
    container_confinement,
    daemon_json,
    profile,
)
from docker_lxc_gate.lint.rules.profile import Assignment

if TYPE_CHECKING:
    from docker_lxc_gate.lint.rules.parser import Parser


#: How many findings of one problem and severity are shown of a file: a stranger's may be wrong in
#: half a million lines, and each one is masked and printed.
MOST = 100


def check(sources: Sequence[Source], parser: Parser | None = None) -> list[Finding]:
    """Return what is wrong with files that are linted together, by file, line and problem.

    Without a ``parser``, they are judged by their bytes alone.
    """
    try:
        findings = _found(sources, parser)
        return sorted(
            findings, key=lambda finding: (finding.path, finding.line, finding.column, finding.id)
        )
    finally:  # what several rules asked for is kept no longer
        container_config.read.cache_clear()
        statements.cache_clear()


def few(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the first findings of each problem in each file; the last of them counts the others."""
    keys = [(finding.path, finding.id, finding.severity) for finding in findings]
    number, seen = Counter(keys), Counter[tuple[str, str, Severity]]()
    for finding, key in zip(findings, keys, strict=True):
        seen[key] += 1
        if seen[key] < MOST or (seen[key] == MOST and number[key] == MOST):
            yield finding
        elif seen[key] == MOST:
            more = f"{finding.cause}; the same in {number[key] - MOST} more places"
            yield replace(finding, cause=more)


def _found(given: Sequence[Source], parser: Parser | None) -> list[Finding]:
    findings = [source.at("file-not-text", 0, source.no_text) for source in given if source.no_text]
    sources = [source for source in given if not source.no_text]
    includes, uses = Includes(sources), list(_uses(sources))
    findings += _configurations(sources, uses, includes)
    findings += _profiles(sources, uses, parser, includes)
    findings += _settings(sources)
    return findings


def _of(sources: Sequence[Source], *kinds: Kind) -> list[Source]:
    return [source for source in sources if source.kind in kinds]


def _uses(sources: Sequence[Source]) -> Iterator[Assignment]:
    for source in _of(sources, Kind.CONTAINER, Kind.LXC):
        for option in container_config.read(source).all("lxc.apparmor.profile")[-1:]:
            if option.value not in NO_PROFILE:
                yield Assignment(option.value, source, option.line)


def _configurations(
    sources: Sequence[Source], uses: Sequence[Assignment], includes: Includes
) -> Iterator[Finding]:
    given = {use.name for use in uses}
    rules = {
        name: includes.rules(*places[0])
        for name, places in profile.defined(sources).items()
        if name in given
    }
    for source in _of(sources, Kind.CONTAINER, Kind.LXC):
        yield from container_config.check(source)
        yield from container_confinement.id_map(source)
        yield from container_confinement.check(source, rules)


def _profiles(
    sources: Sequence[Source],
    uses: Sequence[Assignment],
    parser: Parser | None,
    includes: Includes,
) -> Iterator[Finding]:
    assigned = {use.name for use in uses}
    reported = set[tuple[str, str, int]]()
    for source in _of(sources, Kind.PROFILE, Kind.INCLUDED):
        told = list(profile.check(source, assigned, includes))
        for finding in told:  # several profiles may include the same file
            place = (finding.id, finding.path, finding.line)
            if finding.path == source.path or place not in reported:
                yield finding
            reported.add(place)
        explained = any(finding.id in profile.REFUSED for finding in told)
        if parser and source.kind is Kind.PROFILE and not explained:
            yield from parser.check(source)
    if parser:
        yield from parser.missing()
    yield from profile.agreement(sources, uses)


def _settings(sources: Sequence[Source]) -> Iterator[Finding]:
    units = _of(sources, Kind.UNIT)
    units.sort(key=lambda unit: (unit.name != "docker.service", unit.name))
    if sum(unit.name == "docker.service" for unit in units) > 1:
        units = []  # of which machine each is, nothing says
    for source in _of(sources, Kind.DAEMON):
        yield from daemon_json.check(source, units)
