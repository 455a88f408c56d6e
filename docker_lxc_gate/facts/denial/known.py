"""What is known of denials, as tables: ``known.toml``. The tables name their sources.

A pattern there is one of a whole name.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec

from docker_lxc_gate import patterns

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all rows have in common."""


class _Advice(_Row, frozen=True):
    """A text of profiles: all, or those that a container has ``inside``.

    One that ``nests`` is about the classes that are allowed with nesting alone.
    """

    profile: str
    text: str
    inside: bool = False
    nests: bool = False


class _Known(_Row, frozen=True):
    fields: dict[str, tuple[str, ...]]
    conditions: dict[str, str]
    access: dict[str, str]
    verbs: dict[str, str]
    ptrace: dict[str, str]
    capabilities: dict[str, str]
    no_rule: dict[str, str]
    no_rule_in: dict[str, str]
    where: tuple[_Advice, ...]
    try_first: tuple[_Advice, ...]
    files: tuple[tuple[str, str, str], ...]
    file_systems: dict[str, frozenset[str]]
    not_by_guests: dict[str, str]
    sockets: dict[str, frozenset[str]]
    varying: tuple[tuple[str, str, str, str], ...]


KNOWN = msgspec.toml.decode(
    files("docker_lxc_gate.facts.denial").joinpath("known.toml").read_bytes(), type=_Known
)
PLACES = KNOWN.fields["places"]
#: The mark of the first sort of ids, until a name is quoted for a rule: a control character, since
#: no name with one gets a rule.
_MARK = 0x86


def advice(rows: tuple[_Advice, ...], fields: Mapping[str, str], *, nests: bool) -> str:
    """Return the text of the first row of a table that is about a record; empty: none is."""
    profile = fields.get("profile") or fields.get("label", "")
    inside = bool(fields.get("namespace"))
    for row in rows:
        fits = (nests or not row.nests) and (inside or not row.inside)
        if fits and patterns.fullmatch(f"(?s){row.profile}", profile):
            return row.text.format(profile=profile)
    return ""


def alike(name: str) -> str:
    """Return a name with a mark in place of each id, the same for all names alike."""
    for number, (hint, before, is_id, _) in enumerate(KNOWN.varying, _MARK):
        if hint in name:
            place = rf"(?s)({before})(?:{is_id})((?:-init|\.scope)?(?:/.*)?)"
            if match := patterns.fullmatch(place, name):
                name = f"{match[1]}{chr(number)}{match[2]}"
    return name


def with_globs(name: str) -> str:
    """Return a name with globs in place of its marks."""
    for number, (*_, glob) in enumerate(KNOWN.varying, _MARK):
        name = name.replace(chr(number), glob)
    return name
