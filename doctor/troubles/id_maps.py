"""Ids that the container does not have: holes in its map, and images above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doctor import guest_reads, node_reads
from doctor.case import Examination
from formats.id_map import MANY, NEEDED, holes, in_words, missed
from lint.finding import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from doctor.case import Case
    from formats.id_map import Range
    from lint.finding import Finding

HOLE = Problem(
    "id-map-hole",
    Severity.TROUBLE,
    "the container's id map has a hole below 65536",
    "Files of an unmapped id belong to nobody, and no process can have that id. An image that "
    "holds such a file fails with 'failed to Lchown … invalid argument'.",
    "Map every id from 0 to 65535, for users and for groups, and restart the container.",
)
ABOVE = Problem(
    "image-above-id-map",
    Severity.ADVICE,
    "an image holds files of ids that the container does not have",
    "Docker could not give a file of the image to its owner: failed to Lchown. The id is not below "
    "65536, so this is a defect of the image, not of the container.",
    "Use another version of the image, or build it with ids below 65536. Or map more ids: longer "
    "ranges in /etc/subuid and /etc/subgid, and lxc.idmap lines for them.",
)
LCHOWN = guest_reads.messages("[Ll]chown .*invalid argument")


def judge_holes(case: Case) -> Iterator[Finding]:
    """Yield the holes in the container's map, for users and for groups."""
    maps = case.node.of(node_reads.id_maps(case.ctid))
    named = _missed(case.guest.maybe(LCHOWN, ()))
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
        yield HOLE.here(
            said, mend=_mend(letter, ranges, found), severity=Severity.SEEN if inside else None
        )


def judge_above(case: Case) -> Iterator[Finding]:
    """Yield the ids above 65535 that Docker could not give a file to."""
    named = _missed(case.guest.of(LCHOWN))
    maps = case.node.of(node_reads.id_maps(case.ctid))
    above = {
        f"{noun} {ids[at]}"
        for ids in named
        for at, (noun, ranges) in enumerate((("user", maps.users), ("group", maps.groups)))
        if ids[at] >= NEEDED and not _is_inside(ids[at], ranges)
    }
    if above:
        said = ", ".join(sorted(above)[:MANY])
        yield ABOVE.here(f"an image holds files of {said}, which the container does not have")


def _missed(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Return user and group of each file that Docker could not give to its owner."""
    return [ids for ids in map(missed, lines) if ids]


def _is_inside(number: int, ranges: Sequence[Range]) -> bool:
    return any(each.inside <= number < each.inside + each.count for each in ranges)


def _in_a_hole(number: int, found: Sequence[tuple[int, int]]) -> bool:
    return any(first <= number <= last for first, last in found)


def _mend(letter: str, ranges: Sequence[Range], found: Sequence[tuple[int, int]]) -> str:
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
        return HOLE.mend
    lines = "; ".join(f"lxc.idmap: {letter} {a} {b} {count}" for a, b, count in wanted)
    file = "/etc/subuid" if letter == "u" else "/etc/subgid"
    return (
        f"Add to the container's configuration: {lines}. {file} must give root these ids of the "
        "node. Then restart the container."
    )


EXAMINATIONS = (
    Examination(
        "whether every id is mapped", (HOLE,), judge_holes, (node_reads.id_maps,), (LCHOWN,)
    ),
    Examination(
        "whether an image has ids that are not mapped",
        (ABOVE,),
        judge_above,
        (node_reads.id_maps,),
        (LCHOWN,),
    ),
)
