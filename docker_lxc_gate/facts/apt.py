"""Debian's packages: how apt is asked without a trace, and which of two versions is the older one.

A simulation of ``apt-get`` is no look by itself: it rebuilds its caches where they are absent, and
since apt 2 it writes ``/var/log/apt/eipp.log.xz`` or deletes it. An empty setting is no file, so
nothing is written. Sources: apt.conf(5), apt's EDSP::WriteLimitedScenario and EIPP::OrderInstall,
deb-version(7).
"""

from __future__ import annotations

from typing import TypeAlias

from docker_lxc_gate import patterns

#: Options of ``apt-get -s`` with which it changes no file.
LOOKING = (
    *("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="),
    *("-o", "Dir::Log::Planner=", "-o", "Dir::Log::Solver="),
)
_PART = patterns.compile("([^0-9]*)([0-9]*)")
_TILDE, _END, _OTHER = -1, 0, 256
_Part: TypeAlias = "tuple[tuple[int, ...], int]"
#: A version as a value that Python orders as dpkg does.
Order: TypeAlias = "tuple[int, tuple[_Part, ...], tuple[_Part, ...]]"
_NOTHING: _Part = ((_END,), 0)


def order(version: str) -> Order:
    """Return a version as a value that compares as dpkg compares versions.

    It is ``[EPOCH:]UPSTREAM[-REVISION]``; what is no version has a place, too.

    >>> order("1.0~rc1") < order("1.0") < order("1.0-1") < order("1.0.1") < order("1:0")
    True
    """
    epoch, colon, rest = version.partition(":")
    if not colon or patterns.fullmatch("[0-9]{1,9}", epoch) is None:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return int(epoch), _parts(upstream), _parts(revision)


def _parts(text: str) -> tuple[_Part, ...]:
    """Return runs of other characters and of digits; where a text ends, both are empty."""
    runs = [
        # More digits than Python reads in one piece are no version.
        ((*map(_weight, run[1]), _END), int(run[2][-4000:] or "0"))
        for run in _PART.finditer(text)
    ]
    while runs and runs[-1] == _NOTHING:
        runs.pop()
    return (*runs, _NOTHING, _NOTHING)  # two: the first run of a text may be empty, too


def _weight(character: str) -> int:
    """Return a character's place: a tilde before the end, letters before all others."""
    if character == "~":
        return _TILDE
    letter = character.isascii() and character.isalpha()
    return ord(character) if letter else ord(character) + _OTHER


def is_within(version: str, since: str, before: str) -> bool:
    """Whether a version is in a range from ``since`` up to, without, ``before``; empty: no end."""
    own = order(version)
    return (not since or order(since) <= own) and (not before or own < order(before))
