"""The options of a container that Proxmox knows, and how it reads their values.

The facts are in ``pct_options.toml``, with the version that they were read from. A newer version
may know more: what is wrong only because the table lacks it is not :attr:`Refusal.certain`.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.tables import Row, table

_BOOLEANS = {
    **dict.fromkeys(("1", "on", "yes", "true"), True),
    **dict.fromkeys(("0", "off", "no", "false"), False),
}
#: No longer name, and no more of one value, are compared: a stranger's file may be made to be slow.
_LONGEST, _MOST = 40, 20
_NOT_DEFINED = (
    "property is not defined in schema and the schema does not allow additional properties"
)


class Value(Row, frozen=True):
    """How a value is read; ``pct_options.toml`` explains the fields."""

    kind: Literal["text", "boolean", "integer", "number"] = "text"
    form: str = ""
    list: bool = False
    among: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    required: bool = False
    unnamed: bool = False


class OptionSchema(Value, frozen=True):
    """A key, and what Proxmox does with a value that it cannot read."""

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
    property: dict[str, dict[str, Value]]
    form: dict[str, str]
    raw: _Raw
    former: dict[str, str]


_TABLE = table("docker_lxc_gate.formats", "pct_options", _Table)
#: The version of pve-container that the table was read from.
VERSION = _TABLE.version
#: Keys of LXC from before LXC 3, and their present names.
FORMER = _TABLE.former
_RAW_KEYS = frozenset(f"lxc.{name}" for name in _TABLE.raw.keys.split())
_RAW_FAMILIES = tuple(key for key in _RAW_KEYS if key.endswith("."))
#: What ``lxc.mount.auto`` may hold, and the options of a mount entry that LXC knows.
AUTOMOUNTS = frozenset(_TABLE.raw.automounts.split())
MOUNT_OPTIONS = frozenset(_TABLE.raw.mount_options.split())
#: Keys of LXC with one value: a later line replaces an earlier one.
SINGLE = frozenset(f"lxc.{name}" for name in _TABLE.raw.single.split())
#: The kernel's capabilities, by the names that AppArmor and LXC know.
CAPABILITIES = frozenset(_TABLE.raw.capabilities.split())
_FORMS = {name: patterns.compile(pattern) for name, pattern in _TABLE.form.items()}
_ADDRESSES = {
    "address": ("IPv4Address", "IPv6Address"),
    "IPv4 address": ("IPv4Address",),
    "IPv6 address": ("IPv6Address",),
    "IPv4 address with its mask": ("IPv4Interface",),
    "IPv6 address with its mask": ("IPv6Interface",),
}


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
    """Return what is known of a key that is not LXC's own; None if Proxmox does not know it.

    >>> known("net32"), known("mp"), known("cores").kind
    (None, None, 'integer')
    """
    stem = key.rstrip("0123456789")
    option, number = _TABLE.option.get(stem), key.removeprefix(stem)
    if option is None or bool(number) != bool(option.many):
        return None
    right = not number or (len(number) <= len(str(option.many)) and number == str(int(number)))
    return option if right and int(number or 0) < max(option.many, 1) else None


def handed_on(key: str) -> bool:
    """Whether Proxmox hands a key of LXC on to it, under its present or a former name."""
    return key in _RAW_KEYS or key in FORMER or key.startswith(_RAW_FAMILIES)


@foreign.parser("net0", ...)
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
    elif option.kind != "text" or option.form:
        why = Refusal(_wrong(option, value, limits=False))
    else:
        return None
    words = f"unable to parse value of '{key}' - {why.words}"
    return Refusal(words, why.certain, why.guess) if why.words else None


def beyond(key: str, value: str) -> str:
    """Return why ``pct set`` refuses a value that Proxmox reads from the file, or empty text.

    >>> beyond("memory", "8")
    'value must have a minimum value of 16'
    """
    option = known(key)
    return _wrong(option, value, limits=True) if option and not option.properties else ""


def properties(key: str, value: str) -> dict[str, str]:
    """Return the properties of a value; none if no version of Proxmox can parse it.

    >>> properties("mp0", "local:950/a.raw,mp=/a")
    {'volume': 'local:950/a.raw', 'mp': '/a'}
    """
    option = known(key)
    found, why = _properties(option, value) if option else ({}, Refusal(""))
    return {} if why.words and why.certain else found


def _properties(option: OptionSchema, value: str) -> tuple[dict[str, str], Refusal]:
    schema = _schema(option.properties)
    unnamed = next((name for name, each in schema.items() if each.unnamed), "")
    found: dict[str, str] = {}
    for part in value.split(","):
        key, equals, setting = part.partition("=")
        if not part.strip():
            continue
        if equals and not (key and setting):
            return found, Refusal("missing key in comma-separated list property")
        if not equals:
            key, setting = unnamed, part
        if not key:
            return found, Refusal("value without key, but schema does not define a default key")
        if key in found:
            return found, Refusal(f"duplicate key in comma-separated list property: {key}")
        found[key] = setting
    wrong = {
        key: _wrong(schema[key], setting, limits=True) if key in schema else _NOT_DEFINED
        for key, setting in found.items()
    }
    for key, each in schema.items():
        if each.required and key not in found:
            wrong[key] = "property is missing and it is not optional"
    said = [f"{key}: {why}" for key, why in sorted(wrong.items()) if why]
    strange = [key for key in found if key not in schema]
    guess = next(filter(None, (similar(key, schema, 0.6) for key in strange[:_MOST])), "")
    tidy = ",".join("=".join(map(str.strip, part.split("=", 1))) for part in value.split(","))
    if said and tidy != value and not _properties(option, tidy)[1].words:
        said, guess = [*said, "Proxmox takes a blank for a part of the name or value"], tidy
    # A new property needs a new version; a known one that is wrong, or nearly one, needs none.
    certain = bool(guess) or len(said) > len(strange)
    return found, Refusal(f"format error: {'; '.join(said)}" if said else "", certain, guess)


@cache
def _schema(names: tuple[str, ...]) -> dict[str, Value]:
    return {key: each for name in names for key, each in _TABLE.property[name].items()}


def _wrong(value: Value, text: str, *, limits: bool) -> str:
    """Return what is wrong with one value, in Proxmox's words where it says what."""
    if value.kind == "boolean":
        ok = boolean(text) is not None
    elif value.kind == "text":
        return _wrong_text(value, text, limits=limits)
    else:
        ok = bool(_FORMS[value.kind].fullmatch(text))
    if not ok:
        return f"type check ('{value.kind}') failed - got '{text}'"
    if limits and value.least is not None and float(text) < value.least:
        return f"value must have a minimum value of {value.least}"
    if limits and value.most is not None and float(text) > value.most:
        return f"value must have a maximum value of {value.most}"
    return ""


def _wrong_text(value: Value, text: str, *, limits: bool) -> str:
    if text in value.among:
        return ""
    if value.form:
        each = text.replace(",", " ").replace(";", " ").split() if value.list else [text]
        if all(_has_form(value.form, one) for one in each):
            return ""
        also = f", and none of {', '.join(value.among)}" if value.among else ""
        return f"'{text}' is no {value.form}{also}"
    if limits and value.among:
        return f"value '{text}' does not have a value in the enumeration '{', '.join(value.among)}'"
    return ""


def _has_form(form: str, text: str) -> bool:
    if form in _ADDRESSES:
        return any(_is_address(name, text) for name in _ADDRESSES[form])
    if form in {"path", "path below /dev"}:
        first, *rest = text.split("/")
        if {".", ".."} & set(rest) or (first == ".." and rest):
            return False
    return bool(_FORMS[form].fullmatch(text))


def _is_address(name: str, text: str) -> bool:
    address, slash, mask = text.partition("/")
    if name.endswith("Interface"):
        smallest = 8
        if not (slash and mask.isdecimal() and mask.isascii() and int(mask[:4]) >= smallest):
            return False
    try:
        getattr(ipaddress, name)(text)
    except ValueError:
        return False
    return "%" not in address or address.lower().startswith("fe80:")


def _meant(key: str) -> str:
    """Return the known key that is most similar to an unknown one; empty if none is."""
    stem = key.rstrip("0123456789")
    number = key.removeprefix(stem)[:1] or "0"
    names = (f"{name}{number}" if each.many else name for name, each in _TABLE.option.items())
    return similar(key, names, 0.75)


def similar_raw(key: str) -> str:
    """Return the key of LXC that was meant by an unknown one; empty if none is similar.

    >>> similar_raw("lxc.aparmor.profile"), similar_raw("lxc.nosuch")
    ('lxc.apparmor.profile', '')
    """
    return similar(key, _RAW_KEYS, 0.85)


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
