"""The options of a container that Proxmox knows, and how it reads their values.

The facts are in ``pct_options.toml``, with the version that they were read from. A newer version
may know more: what is wrong only because the table lacks it is not :attr:`Refusal.certain`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.tables import Row, table

_BOOLEANS = {
    **dict.fromkeys(("1", "on", "yes", "true"), True),
    **dict.fromkeys(("0", "off", "no", "false"), False),
}
#: The forms that Proxmox calls types.
_TYPES = frozenset({"boolean", "integer", "number"})
#: No longer name, and no more of one value, are compared: a stranger's file may be made to be slow.
_LONGEST, _MOST = 40, 20
_NOT_DEFINED = (
    "property is not defined in schema and the schema does not allow additional properties"
)


class Property(Row, frozen=True):
    """How a property is read; ``pct_options.toml`` explains the fields."""

    form: str = ""
    required: bool = False
    unnamed: bool = False


class OptionSchema(Row, frozen=True):
    """A key, and what Proxmox does with a value that it cannot read."""

    form: str = ""
    many: int = 0
    properties: tuple[str, ...] = ()
    stops: bool = False
    otherwise: str = ""


class _Raw(Row, frozen=True):
    keys: str
    automounts: str
    mount_options: str
    capabilities: str
    single: str


class _Table(Row, frozen=True):
    version: str
    option: dict[str, OptionSchema]
    property: dict[str, dict[str, Property]]
    form: dict[str, str]
    raw: _Raw
    former: dict[str, str]


_TABLE = table("docker_lxc_gate.formats", "pct_options", _Table)
_OPTIONS = {
    f"{name}{number}": option
    for name, option in _TABLE.option.items()
    for number in (range(option.many) if option.many else ("",))
}
#: The version of pve-container that the table was read from.
VERSION = _TABLE.version
#: Keys of LXC from before LXC 3, and their present names.
FORMER = _TABLE.former
#: The keys of LXC that Proxmox hands on; a dot at the end begins a family.
RAW_KEYS = frozenset(f"lxc.{name}" for name in _TABLE.raw.keys.split())
_RAW_FAMILIES = tuple(key for key in RAW_KEYS if key.endswith("."))
#: What ``lxc.mount.auto`` may hold, and the options of a mount entry that LXC knows.
AUTOMOUNTS = frozenset(_TABLE.raw.automounts.split())
MOUNT_OPTIONS = frozenset(_TABLE.raw.mount_options.split())
#: Keys of LXC with one value: a later line replaces an earlier one.
SINGLE = frozenset(f"lxc.{name}" for name in _TABLE.raw.single.split())
#: The kernel's capabilities, by the names that AppArmor and LXC know.
CAPABILITIES = frozenset(_TABLE.raw.capabilities.split())
_FORMS = {name: patterns.compile(pattern) for name, pattern in _TABLE.form.items()}


@dataclass(frozen=True)
class Refusal:
    """Why Proxmox cannot read an option, in its own words.

    It is ``certain`` if a newer version cannot read it, either. The ``guess`` is the key or the
    value that was meant, as far as can be told.
    """

    words: str
    certain: bool = True
    guess: str = ""


def boolean(value: str) -> bool | None:
    """Return a value as a boolean, as Proxmox reads it; None if it is none.

    >>> boolean("Yes"), boolean("off"), boolean("2")
    (True, False, None)
    """
    return _BOOLEANS.get(value.lower())


def known(key: str) -> OptionSchema | None:
    """Return what is known of a key that is not LXC's own; None if Proxmox does not know it."""
    return _OPTIONS.get(key)


def handed_on(key: str) -> bool:
    """Whether Proxmox hands a key of LXC on to it, under its present or a former name."""
    return key in RAW_KEYS or key in FORMER or key.startswith(_RAW_FAMILIES)


def refusal(key: str, value: str) -> Refusal | None:
    """Return why Proxmox cannot read an option, which it then warns of; None if it can.

    >>> refusal("cores", "two").words
    "unable to parse value of 'cores' - type check ('integer') failed - got 'two'"
    >>> refusal("feature", "nesting=1").guess
    'features'
    """
    option = known(key)
    if option is None:
        guess = _meant(key)
        why = Refusal(f"unknown setting '{key}'", certain=bool(guess), guess=guess)
    elif option.properties:
        why = _properties(option, value)[1]
    else:
        why = Refusal(_wrong(option.form, value))
    words = f"unable to parse value of '{key}' - {why.words}"
    return Refusal(words, why.certain, why.guess) if why.words else None


def properties(key: str, value: str) -> dict[str, str]:
    """Return the properties of a value; none if no version of Proxmox can parse it.

    >>> properties("mp0", "local:950/a.raw,mp=/a")
    {'volume': 'local:950/a.raw', 'mp': '/a'}
    """
    option = known(key)
    values, why = _properties(option, value) if option else ({}, Refusal(""))
    return {} if why.words and why.certain else values


def _properties(option: OptionSchema, value: str) -> tuple[dict[str, str], Refusal]:
    schema = {
        key: item for name in option.properties for key, item in _TABLE.property[name].items()
    }
    unnamed = next((name for name, item in schema.items() if item.unnamed), "")
    values: dict[str, str] = {}
    for part in filter(str.strip, value.split(",")):
        key, equals, setting = part.partition("=")
        if equals and not (key and setting):
            return values, Refusal("missing key in comma-separated list property")
        if not equals:
            key, setting = unnamed, part
        if not key:
            return values, Refusal("value without key, but schema does not define a default key")
        if key in values:
            return values, Refusal(f"duplicate key in comma-separated list property: {key}")
        values[key] = setting
    strange = [key for key in values if key not in schema]
    wrong = dict.fromkeys(strange, _NOT_DEFINED)
    for key, item in schema.items():
        if key in values:
            wrong[key] = _wrong(item.form, values[key])
        elif item.required:
            wrong[key] = "property is missing and it is not optional"
    causes = [f"{key}: {why}" for key, why in sorted(wrong.items()) if why]
    guess = next(filter(None, (similar(key, schema, 0.6) for key in strange[:_MOST])), "")
    tidy = ",".join("=".join(map(str.strip, part.split("=", 1))) for part in value.split(","))
    if causes and tidy != value and not _properties(option, tidy)[1].words:
        causes, guess = [*causes, "Proxmox takes a blank for a part of the name or value"], tidy
    # A new property needs a new version; a known one that is wrong, or nearly one, needs none.
    certain = bool(guess) or len(causes) > len(strange)
    return values, Refusal(f"format error: {'; '.join(causes)}" if causes else "", certain, guess)


def _wrong(form: str, text: str) -> str:
    """Return what is wrong with one value, in Proxmox's words where it says what."""
    if not form or _FORMS[form].fullmatch(text):
        return ""
    if form in _TYPES:
        return f"type check ('{form}') failed - got '{text}'"
    return f"'{text}' is no {form}"


def _meant(key: str) -> str:
    """Return the known key that is most similar to an unknown one; empty if none is."""
    stem = key.rstrip("0123456789")
    number = key.removeprefix(stem)[:1] or "0"
    names = (f"{name}{number}" if option.many else name for name, option in _TABLE.option.items())
    return similar(key, names, 0.75)


def similar(name: str, names: Iterable[str], least: float) -> str:
    """Return the one of some names that is most similar to a name; empty if none is.

    >>> similar("cgroup:rww", AUTOMOUNTS, 0.75), similar("size=1", MOUNT_OPTIONS, 0.75)
    ('cgroup:rw', '')
    """
    if len(name) > _LONGEST:
        return ""
    return next(iter(difflib.get_close_matches(name, list(names), 1, least)), "")


def perhaps(name: str, names: Iterable[str], least: float) -> str:
    """Return which of some names may be meant, as a sentence; empty if none is similar."""
    meant = similar(name, names, least)
    return f"Perhaps {meant} is meant." if meant else ""


def like_capability(name: str) -> str:
    """Return which capability may be meant, as a sentence; empty if none is similar."""
    return perhaps(name.lower().removeprefix("cap_"), CAPABILITIES, 0.7)
