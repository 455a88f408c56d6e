"""A container's map of user and group ids: holes, overlaps, and the node's root.

Sources: PVE::LXC (parse_id_maps), user_namespaces(7), lxc.container.conf(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from docker_lxc_gate.formats.id_map import Range, holes, in_words, written
from docker_lxc_gate.lint.rules.container_config import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker_lxc_gate.lint.finding import Finding
    from docker_lxc_gate.lint.source import Source


_KINDS = {"u": "user", "g": "group"}


@dataclass(frozen=True)
class _Range(Range):
    """A range of users or groups, and the line that it is in."""

    kind: str
    line: int


def check(source: Source) -> Iterator[Finding]:
    """Yield what is wrong with a container's own id map; without one there is nothing to say.

    Args:
        source: of the kind CONTAINER or LXC.
    """
    ranges: list[_Range] = []
    for option in read(source).all("lxc.idmap"):
        found = written(option.value)
        if found is None or found[0] not in _KINDS:
            if option.value:  # an empty value clears the list
                said = f"'{option.value}' is no entry of an id map"
                yield source.at("container-idmap-invalid", option.line, said)
            ranges = []
            if option.value:
                return
            continue
        ranges.append(_Range(**vars(found[1]), kind=found[0], line=option.line))
    for kind in _KINDS if ranges else ():
        of_kind = sorted((r for r in ranges if r.kind == kind), key=lambda r: r.inside)
        yield from _judged(source, kind, of_kind, ranges[-1].line)


def _judged(source: Source, kind: str, ranges: Sequence[_Range], last: int) -> Iterator[Finding]:
    name = _KINDS[kind]
    if not ranges:
        yield source.at("container-idmap-hole", last, f"no {name} id is mapped")
        return
    clash = _clash(ranges, "inside") or _clash(ranges, "outside")
    if clash:
        one, other = clash
        yield source.at(
            "container-idmap-overlap",
            other.line,
            f"{name} ids overlap those of line {one.line}",
        )
        return
    for hole in holes(ranges):
        line = next((each.line for each in ranges if each.inside > hole[0]), ranges[-1].line)
        yield source.at("container-idmap-hole", line, f"the {name} {in_words([hole])} not mapped")
    for each in ranges:
        if each.outside == 0 and each.count:
            yield source.at(
                "container-idmap-root",
                each.line,
                f"{name} {each.inside} is the node's {name} 0",
            )


def _clash(ranges: Sequence[_Range], side: str) -> tuple[_Range, _Range] | None:
    ordered = sorted(ranges, key=lambda each: int(getattr(each, side)))
    for one, other in pairwise(ordered):
        if getattr(one, side) + one.count > getattr(other, side):
            return one, other
    return None
