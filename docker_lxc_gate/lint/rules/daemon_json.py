"""Docker's daemon.json: what dockerd refuses, and what it does not start with.

Source: moby daemon/config/config.go (findConfigurationConflicts, configValuesSet) and
daemon/command/config*.go, versions 20.10 to 29.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from docker_lxc_gate import patterns
from docker_lxc_gate.formats.pct_options import perhaps
from docker_lxc_gate.lint import json_text
from docker_lxc_gate.tables import Row, table

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Finding, Source
    from docker_lxc_gate.lint.json_text import Document, Path


class _Keys(Row, frozen=True):
    """The keys of daemon.json by their types: ``daemon_keys.toml`` explains them."""

    lists: frozenset[str]
    booleans: frozenset[str]
    strings: frozenset[str]
    numbers: frozenset[str]
    objects: frozenset[str]
    others: frozenset[str]
    shapes: dict[str, Any]
    flags: dict[str, str]
    short: dict[str, str]


_KEYS = table("docker_lxc_gate.lint", "daemon_keys", _Keys)
#: The type of each key's value, in words; of an object or a list that of what is in it; None: any.
_SHAPES: dict[str, Any] = {
    **{key: ["a string"] for key in _KEYS.lists},
    **dict.fromkeys(_KEYS.booleans, "true or false"),
    **dict.fromkeys(_KEYS.strings, "a string"),
    **dict.fromkeys(_KEYS.numbers, "a whole number"),
    **{key: {} for key in _KEYS.objects},
    **dict.fromkeys(_KEYS.others),
    **_KEYS.shapes,
}
#: Flags whose name in the file is another one.
_NAMES = {
    **{name.removesuffix("s"): name for name in _KEYS.lists | {"default-ulimits", "log-opts"}},
    **_KEYS.flags,
}
_URL, _HTTP = "a URL that begins with https:// or http://", patterns.compile("https?://")
_TYPES = {"a string": str, _URL: str, "true or false": bool, "a whole number": int}
#: So much of one value is told.
_MOST = 20
#: Settings that dockerd merges, wherever they are.
_MERGED = frozenset({"runtimes"})
#: A key in what is no JSON.
_KEY = patterns.compile(r'"([a-z0-9-]{1,60})"[ \t]*:')
_FLAG = patterns.compile(r"(?s)--(?P<long>[a-z][a-z0-9-]*)(?:=.*)?|-(?P<short>[HbDGgpls])(?:=?.*)")


def is_likely(content: bytes) -> bool:
    """Whether a JSON file of any name holds Docker's settings, by the keys that it has."""
    try:
        value = json.loads(content)
        keys = list(value) if isinstance(value, dict) else []
    except (ValueError, RecursionError):
        keys = _KEY.findall(content.decode(errors="replace"))
    known = sum(key in _SHAPES for key in keys)
    return 0 < known >= len(keys) - known


def check(source: Source, units: Sequence[Source] = ()) -> Iterator[Finding]:
    """Yield what is wrong with Docker's settings.

    ``units`` are Docker's unit and its drop-ins, in the order in which systemd reads them.
    """
    document, findings = json_text.read(source)
    yield from findings
    if document is None:
        return
    if not isinstance(document.value, dict):
        if document.value is not None:
            yield source.at("daemon-value-type", 1, "the file holds no JSON object")
        return
    for path, value in _settings(document.value):
        yield from _judged(source, document, path, value)
    for name, place in _flags(units).items():
        paths = [path for path, _ in _settings(document.value) if path[-1] == name]
        if paths and name not in _MERGED:
            line, column = document.place(paths[0])
            cause = f"'{name}' is also set on dockerd's command line ({place})"
            yield source.at("daemon-flag-conflict", line, cause, column=column)


def _settings(value: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield the settings as dockerd takes them: those in an object it does not know, one by one."""
    for key, setting in value.items():
        if isinstance(setting, dict) and key not in _SHAPES:
            yield from (((key, below), item) for below, item in setting.items())
        else:
            yield (key,), setting


def _judged(source: Source, document: Document, path: Path, value: Any) -> Iterator[Finding]:
    key = str(path[-1])
    line, column = document.place(path)
    if key not in _SHAPES:
        cause, fix = f"dockerd knows no key '{key}'", perhaps(key, _SHAPES, 0.8)
        yield source.at("daemon-key-unknown", line, cause, column=column, fix=fix)
    else:
        for below, wanted in islice(_wrong(value, _SHAPES[key], path), _MOST):
            line, column = document.place(below)
            name = below[-1]
            named = f"item {name + 1} of {key}" if isinstance(name, int) else f"'{name}'"
            yield source.at("daemon-value-type", line, f"{named} has to be {wanted}", column=column)


def _wrong(value: Any, shape: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield where something is of another type than it has to be, and of which; null is none."""
    if value is None or shape is None:
        return
    if isinstance(shape, str):
        if type(value) is not _TYPES[shape] or (shape == _URL and not _HTTP.match(str(value))):
            yield path, shape
    elif not isinstance(value, type(shape)):
        yield path, "a list" if isinstance(shape, list) else "an object"
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield from _wrong(item, shape[0], (*path, number))
    else:
        for name, item in value.items():
            yield from _wrong(item, shape.get(name.lower(), shape.get("*")), (*path, name))


#: Of a command line so much is read (characters): shlex takes quadratic time for a long word.
_LONGEST = 1 << 15


def _flags(units: Sequence[Source]) -> dict[str, str]:
    """Return the settings on dockerd's command line, by their names in the file, and where."""
    command, place = "", ""
    for unit in units:
        for number, line in _assignments(unit.text):
            command, place = line, f"{unit.path}, line {number}"
    try:
        words = shlex.split(command[:_LONGEST])
    except ValueError:
        return {}
    flags = {}
    for word in words[1:]:
        if flag := _FLAG.fullmatch(word):
            name = _KEYS.short[flag["short"]] if flag["short"] else flag["long"]
            flags[_NAMES.get(name, name)] = place
    return flags


def _assignments(text: str) -> Iterator[tuple[int, str]]:
    """Yield each ExecStart= with its line; an empty one takes the former back."""
    number = 0
    for row in patterns.sub(r"\\\n", lambda _: " \0", text).split("\n"):
        number += 1
        here, number = number, number + row.count("\0")
        name, equals, value = row.partition("=")
        if equals and name.strip() == "ExecStart":
            yield here, value.replace("\0", "").strip()
