"""A container's map of user and group ids, and the ids that it leaves out.

Every id from 0 to 65535 must be mapped, for users and groups: images hold files of all of them.
Sources: user_namespaces(7), moby pkg/archive (createTarFile: Lchown).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.printable import listed

#: What an image may hold: ids of 16 bits.
NEEDED = 1 << 16
_NUMBER = "[0-9]{1,10}"
_RANGE = patterns.compile(rf" *({_NUMBER}) +({_NUMBER}) +({_NUMBER})")
_WRITTEN = patterns.compile(rf"\s*([ugb])\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*")
_MISSED = patterns.compile(r"[Ll]chown .* for UID ([0-9]{1,10}), GID ([0-9]{1,10})")
#: A message names at most so many holes.
MANY = 4


@dataclass(frozen=True)
class Range:
    """``count`` ids from ``inside``, which are those from ``outside`` on the node."""

    inside: int
    outside: int
    count: int

    def has_outside(self, number: int) -> bool:
        """Whether an id of the node is in it."""
        return self.outside <= number < self.outside + self.count


def written(value: str) -> tuple[str, Range] | None:
    """Return what ``lxc.idmap`` says: u, g, or b for both, and the range; None if it is none.

    Source: lxc.container.conf(5).

    >>> written("u 0 100000 65536")
    ('u', Range(inside=0, outside=100000, count=65536))
    """
    match = _WRITTEN.fullmatch(value)
    return (match[1], Range(*map(int, match.groups()[1:]))) if match else None


def parse(text: str, what: str) -> tuple[Range, ...]:
    """Return the ranges of ``/proc/PID/uid_map`` or ``gid_map``, empty where no id is mapped.

    Raises FactError if a line is no range; it says ``what`` this is.
    """
    matches = [_RANGE.fullmatch(line) for line in text.splitlines()]
    if None in matches:
        raise FactError(f"{what} cannot be read: {text[:80]!r}")
    return tuple(Range(*map(int, match.groups())) for match in matches if match)


def holes(ranges: Sequence[Range]) -> list[tuple[int, int]]:
    """Return the ids below 65536 that ranges leave out, as first and last."""
    gaps, end = [], 0
    for entry in sorted(ranges, key=lambda entry: entry.inside):
        if min(entry.inside, NEEDED) > end:
            gaps.append((end, min(entry.inside, NEEDED) - 1))
        end = max(end, entry.inside + entry.count)
    return [*gaps, (end, NEEDED - 1)] if end < NEEDED else gaps


def in_words(gaps: Sequence[tuple[int, int]]) -> str:
    """Return holes as a part of a sentence.

    >>> in_words([(5, 5)]), in_words([(0, 9), (12, 12)])
    ('id 5 is', 'ids 0 to 9, 12 are')
    """
    spans = [str(first) if first == last else f"{first} to {last}" for first, last in gaps]
    one = len(gaps) == 1 and gaps[0][0] == gaps[0][1]
    ids = listed(spans, MANY, "more ranges")
    return f"id {ids} is" if one else f"ids {ids} are"


def missed(text: str) -> tuple[int, int] | None:
    """Return user and group of a file that Docker could not give to its owner, or None.

    >>> missed('failed to Lchown "/x" for UID 7, GID 0: lchown /x: invalid argument')
    (7, 0)
    """
    match = _MISSED.search(text)
    return (int(match[1]), int(match[2])) if match else None
