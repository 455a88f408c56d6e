"""Ids that the container does not have: holes in its map, and images above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import PROBLEMS, Case, Examination, here
from docker_lxc_gate.formats.id_map import MANY, NEEDED, Range, holes, in_words, missed
from docker_lxc_gate.lint.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_ASKED = (messages.READ, guest_reads.CONTAINERS)


@Examination(
    "whether every id is mapped", ("id-map-hole",), node=(node_reads.id_maps,), guest=_ASKED
)
def unmapped(case: Case) -> Iterator[Finding]:
    """Yield the holes in the container's map, for users and for groups."""
    maps = case.node.of(node_reads.id_maps(case.ctid))
    named = [] if case.guest.maybe(messages.READ, None) is None else _missed(case)
    for at, (noun, letter, ranges) in enumerate(
        (("user", "u", maps.users), ("group", "g", maps.groups))
    ):
        found = holes(ranges)
        if not found:
            continue
        inside = sorted({ids[at] for ids in named if _in_a_hole(ids[at], found)})
        said = f"the {noun} {in_words(found)} not mapped"
        if inside:
            said += f"; Docker's message names {noun} {inside[0]}, which is one of them"
        yield here(
            "id-map-hole",
            said,
            fix=_fix(letter, ranges, found),
            severity=Severity.SEEN if inside else None,
        )


@Examination(
    "whether an image has ids that are not mapped",
    ("image-above-id-map",),
    node=(node_reads.id_maps,),
    guest=_ASKED,
)
def above(case: Case) -> Iterator[Finding]:
    """Yield the ids above 65535 that Docker could not give a file to."""
    named = _missed(case)
    maps = case.node.of(node_reads.id_maps(case.ctid))
    above = {
        f"{noun} {ids[at]}"
        for ids in named
        for at, (noun, ranges) in enumerate((("user", maps.users), ("group", maps.groups)))
        if ids[at] >= NEEDED and not any(each.has_inside(ids[at]) for each in ranges)
    }
    if above:
        said = ", ".join(sorted(above)[:MANY])
        yield here(
            "image-above-id-map",
            f"an image holds files of {said}, which the container does not have",
        )


def _missed(case: Case) -> list[tuple[int, int]]:
    """Return user and group of each file that Docker could not give to its owner."""
    return [
        ids
        for each in messages.said(case, "id-map-hole", "image-above-id-map")
        if (ids := missed(each.line))
    ]


def _in_a_hole(number: int, found: Sequence[tuple[int, int]]) -> bool:
    return any(first <= number <= last for first, last in found)


def _fix(letter: str, ranges: Sequence[Range], found: Sequence[tuple[int, int]]) -> str:
    """Return what to write: the holes get the node's ids that follow from the longest range."""
    longest = max(ranges, key=lambda each: each.count, default=None)
    apart = longest.outside - longest.inside if longest else 0
    wanted = [(first, first + apart, last - first + 1) for first, last in found]
    taken = any(
        each.outside < outside + count and outside < each.outside + each.count
        for _, outside, count in wanted
        for each in ranges
    )
    if taken or len(found) > MANY or apart <= 0:
        return PROBLEMS["id-map-hole"].fix
    lines = "; ".join(f"lxc.idmap: {letter} {a} {b} {count}" for a, b, count in wanted)
    file = "/etc/subuid" if letter == "u" else "/etc/subgid"
    return (
        f"Add to the container's configuration: {lines}. {file} must give root these ids of the "
        "node. Then restart the container."
    )
