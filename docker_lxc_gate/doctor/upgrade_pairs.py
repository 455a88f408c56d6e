"""Versions that are known not to go together, and since when they do: ``upgrades.toml``.

What no pair names is no promise: see :data:`KNOWN`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date  # noqa: TC003 - the table is read by its types
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field, structs

from docker_lxc_gate.lint.finding import Problem, Severity
from docker_lxc_gate.tables import Row, table

Where: TypeAlias = Literal["node", "container"]
#: Not a package: the kernel that the node runs, or would run after a reboot.
KERNEL = "kernel"

_Text: TypeAlias = Annotated[str, Meta(min_length=1)]
#: As dpkg writes it; empty: no end.
_Version: TypeAlias = Annotated[str, Meta(pattern=r"^(([0-9]+:)?[0-9][0-9A-Za-z.+~-]*)?$")]
#: A thread, a place in a repository, a page of Docker's, a changelog of Debian's.
_Source: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^([\w.-]+/[\w.-]+(#[1-9][0-9]*|, [\w./ -]+)|docs\.docker\.com(/[\w-]+)+"
        r"|Debian's changelog of [a-z-]+ [\w.+:~-]+)$"
    ),
]


#: The packages of dockerd: Docker's, Debian's, and Azure's. podman-docker is none: it runs podman.
DOCKERS = ("docker-ce", "docker.io", "moby-engine")


class Versions(Row, frozen=True):
    """The versions of one package from ``since`` up to, and without, ``before``; empty: no end."""

    package: _Text
    since: _Version = ""
    before: _Version = ""

    @property
    def of_packages(self) -> tuple[Versions, ...]:
        """The same versions of the packages that there are: ``docker`` has several names."""
        if self.package != "docker":
            return (self,)
        since, before = (version and f"5:{version}" for version in (self.since, self.before))
        others = (structs.replace(self, package=package) for package in DOCKERS[1:])
        return Versions(DOCKERS[0], since, before), *others


#: By machine, groups of versions: of each group, one must be there.
Sides: TypeAlias = dict[Where, tuple[Annotated[tuple[Versions, ...], Meta(min_length=1)], ...]]


class Pair(Row, frozen=True):
    """Versions that do not go together; ``upgrades.toml`` explains the keys."""

    title: _Text
    why: _Text
    fix: Annotated[str, Meta(pattern=r"\.$")]
    broken: Annotated[Sides, Meta(min_length=1)]
    sources: Annotated[tuple[_Source, ...], Meta(min_length=2)]
    fixed: Sides = field(default_factory=dict)
    only: str = ""
    advice: bool = False
    id: str = ""

    @property
    def problem(self) -> Problem:
        """The problem that the upgrade has, if it leads to these versions."""
        severity = Severity.ADVICE if self.advice else Severity.PROBLEM
        why = f"{self.why} Known from {', '.join(self.sources)}."
        return Problem(self.id, severity, self.title, why, self.fix)


class Known(Row, frozen=True):
    """Up to which version of a package threads and changelogs were read for this table."""

    before: Annotated[_Version, Meta(min_length=1)]
    source: _Source
    read: date


class _Table(Row, frozen=True):
    only: dict[str, _Text]
    pair: dict[Annotated[str, Meta(pattern="^upgrade-[a-z0-9-]+$")], Pair]
    known: dict[str, Known]
    needed: dict[Where, tuple[tuple[_Text, ...], ...]]


_TABLE = table("docker_lxc_gate.doctor", "upgrades", _Table)
PAIRS = tuple(structs.replace(pair, id=name) for name, pair in _TABLE.pair.items())
#: Each condition in words.
ONLY = _TABLE.only
#: By package; what is newer is said to be unknown.
KNOWN = {
    span.package: structs.replace(row, before=span.before)
    for name, row in _TABLE.known.items()
    for span in Versions(name, before=row.before).of_packages
}
#: The date of the table: of what was not read again for the longest time.
AS_OF = min(row.read for row in KNOWN.values())
#: By machine: Docker needs a package of each group; a plan that leaves none is a problem.
NEEDED = _TABLE.needed


def groups(sides: Sides) -> Iterator[tuple[Where, tuple[Versions, ...]]]:
    """Yield each group of versions with its machine, and the packages of Docker by their names."""
    for where, of_machine in sides.items():
        for group in of_machine:
            yield where, tuple(span for one in group for span in one.of_packages)
