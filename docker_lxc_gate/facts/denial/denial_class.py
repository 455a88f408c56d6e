"""One class of what AppArmor mediates: all that is known of a denial of it stands in one value.

Tables that several classes share are in ``known.toml``, which names its sources; a pattern there is
one of a whole name.

Sources: apparmor.d(5); kernel ``security/apparmor/include/audit.h`` (the operations), and
``security/apparmor/{mount,file,net,ipc,task}.c``, which write the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.tables import Row, table


class _Advice(Row, frozen=True):
    """A text of profiles: all, or those that a container has ``inside``.

    One that ``nests`` is about the classes that are allowed with nesting alone, and one with a
    ``peer`` or a ``family`` about the records that have it.
    """

    profile: str
    text: str
    inside: bool = False
    nests: bool = False
    peer: str = ""
    family: str = ""


class _Known(Row, frozen=True):
    fields: dict[str, tuple[str, ...]]
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


KNOWN = table("docker_lxc_gate.facts.denial", "known", _Known)
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
        fits &= row.peer in {"", fields.get("peer")} and row.family in {"", fields.get("family")}
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


#: How the profiles of LXC's, LXD's and Incus's containers begin.
_CONTAINERS = ("lxc-", "lxd-", "incus-")


class NoRule(Exception):
    """No rule would allow what was denied, or none is known; its text says why."""


class Record(dict[str, str]):
    """A record's fields; what is missing or empty is a KeyError when a rule needs it."""

    @override
    def __getitem__(self, key: str) -> str:
        if value := super().get(key):
            return value
        raise KeyError(key)

    @property
    def denied(self) -> str:
        """What was denied, by either of the names that kernels give it."""
        return self.get("denied_mask") or self.get("denied") or ""

    @property
    def letters(self) -> str:
        """The permissions of a file that were denied."""
        return patterns.sub(r"[^a-z]", "", self.get("denied_mask", ""))

    @property
    def target(self) -> str:
        """The profile that was asked for."""
        return self.get("target") or self.get("name", "")

    @property
    def of_container(self) -> bool:
        """Whether the profile is a container's, or one in a container's policy namespace."""
        return bool(self.get("namespace")) or self.get("profile", "").startswith(_CONTAINERS)

    def shown(self, key: str) -> str:
        """A value for a reader, who is told if there is none."""
        return self.get(key) or f"(the record has no {key})"

    def access(self) -> str:
        """What was denied, as a rule has it whose permissions are words."""
        denied = self.denied or self["denied_mask"]
        return f"({', '.join(patterns.split(r'[ ,]+', denied.strip()))})"

    def path(self, key: str) -> str:
        """A value that is a path from the root."""
        if not is_path(value := self[key]):
            raise KeyError("path from the root")
        return value

    def conditions(self, **keys: str) -> list[str]:
        """Return the conditions that the record has a value for, each by its name in a rule."""
        values = ((name, self.get(key)) for name, key in keys.items())
        return [f"{name}={value}" for name, value in values if value and value != "none"]


@dataclass(frozen=True)
class DenialClass:
    """All that is known of the denials of one class; a new one is a row of ``CLASSES``.

    Attributes:
        wanted: says in words what was tried, as it follows "wanted to"; of whatever fields, text.
        rule: the smallest rule that allows it, without its comma. The names in the record are
            quoted for a profile. It raises KeyError of what the rule needs and the record lacks,
            and NoRule if none would help.
        danger: says why the rule is dangerous; empty: nothing is known.
        tells: whether a record is of it, if not by its operation, which is then the class's name.
        nests: whether the profile that LXC generates allows it if the container has nesting.
    """

    wanted: Callable[[Record], str]
    rule: Callable[[Record], str]
    danger: Callable[[Record], str] = lambda _: ""
    tells: Callable[[Record], bool] = lambda _: False
    nests: bool = False


def is_path(word: str) -> bool:
    """Whether a word of a rule, quoted or not, is a path from the root."""
    return word.startswith(("/", '"/'))


def with_peer(parts: list[str], peer: list[str]) -> str:
    """Return a rule of its parts, and of the conditions of the other side, if there are any."""
    return " ".join([*parts, *([f"peer=({', '.join(peer)})"] if peer else [])])
