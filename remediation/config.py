"""A container's configuration as it is written, with the line and section of each option.

Proxmox's ``/etc/pve/lxc/<ctid>.conf`` holds the current options first, then sections:
``[pve:pending]`` (in effect after the next start) and one for each snapshot, whose options
are not in effect at all. LXC's own ``config`` has no sections and uses ``=``.
Source: pct.conf(5), lxc.container.conf(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECTION = re.compile(r"^\[(?P<name>[^\]]+)\]\s*$")
_OPTION = re.compile(r"^(?P<key>[A-Za-z][\w.\-]*)\s*(?P<sep>[:=])\s*(?P<value>.*?)\s*$")
#: What a mount entry needs at least: source, target, type, options (fstab's first four fields).
MOUNT_ENTRY_FIELDS = ("source", "target", "type", "options")


@dataclass(frozen=True)
class Option:
    """One ``key: value`` line; ``section`` is empty for the options in effect."""

    key: str
    value: str
    line: int
    section: str = ""


@dataclass(frozen=True)
class ContainerConfig:
    """All options of one container, in the file's order."""

    path: str
    options: tuple[Option, ...]
    unreadable: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        """The options alone, a line each, as LXC writes them."""
        return "\n".join(f"{option.key} = {option.value}" for option in self.options)

    def current(self) -> dict[str, str]:
        """Return the options in effect; of a repeated key the last, as LXC and pct do."""
        return {option.key: option.value for option in self.options if not option.section}

    def all(self, key: str) -> tuple[Option, ...]:
        """Return every line in effect with this key, in order."""
        return tuple(o for o in self.options if o.key == key and not o.section)

    def elsewhere(self, key: str) -> tuple[Option, ...]:
        """Return the lines with this key that stand in a section, so that they have no effect."""
        return tuple(o for o in self.options if o.key == key and o.section)


def parse(path: str, text: str) -> ContainerConfig:
    """Read a container's configuration in Proxmox's or in LXC's syntax.

    Args:
        path: the file's name, for messages.
        text: its content.

    Returns:
        Every option with its line; lines that are neither are kept in ``unreadable``.
    """
    options: list[Option] = []
    unreadable: list[tuple[int, str]] = []
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if header := _SECTION.match(line):
            section = header["name"]
        elif option := _OPTION.match(line):
            options.append(Option(option["key"], option["value"], number, section))
        else:
            unreadable.append((number, line))
    return ContainerConfig(path, tuple(options), tuple(unreadable))


def missing_fields(entry: str) -> tuple[str, ...]:
    """Return the names of the fields that a mount entry lacks.

    >>> missing_fields("/dev/fuse")
    ('target', 'type', 'options')
    >>> missing_fields("/dev/fuse dev/fuse none bind,create=file 0 0")
    ()
    """
    return MOUNT_ENTRY_FIELDS[len(entry.split()) :]


def features(value: str) -> dict[str, str]:
    """Read the value of ``features``.

    >>> features("nesting=1,keyctl=1")
    {'nesting': '1', 'keyctl': '1'}
    """
    pairs = (item.partition("=") for item in value.split(",") if item)
    return {key: setting for key, _, setting in pairs}


def with_options(text: str, wanted_features: dict[str, str], raw: dict[str, str]) -> str:
    """Return the text with features and raw ``lxc.*`` keys set among the options in effect.

    Lines go before the first section: appended after a snapshot's header they would have no
    effect now, and come to life at a rollback to that snapshot. Everything else is kept.

    Args:
        text: the configuration file as it is.
        wanted_features: features to set; others are kept.
        raw: keys to set, each exactly once.
    """
    lines = text.splitlines(keepends=True)
    end = next((n for n, line in enumerate(lines) if line.startswith("[")), len(lines))
    head, rest = lines[:end], lines[end:]
    tail: list[str] = []
    while head and not head[-1].strip():
        tail.insert(0, head.pop())
    if head and not head[-1].endswith("\n"):
        head[-1] += "\n"
    current = parse("", "".join(head)).current()
    merged = features(current.get("features", "")) | wanted_features
    wanted = {"features": ",".join(f"{k}={v}" for k, v in merged.items())} | raw
    for key, value in wanted.items():
        head = _set(head, key, value)
    return "".join(head + tail + rest)


def _set(lines: list[str], key: str, value: str) -> list[str]:
    """Set a key once: where it stands last, or at the end."""
    places = [n for n, line in enumerate(lines) if (m := _OPTION.match(line)) and m["key"] == key]
    new = f"{key}: {value}\n"
    includes = [n for n, line in enumerate(lines) if re.match(r"lxc\.include\s*[:=]", line)]
    if not places or (key.startswith("lxc.") and includes and includes[-1] > places[-1]):
        # The last assignment wins, and an include may hold one.
        return [*(line for n, line in enumerate(lines) if n not in places), new]
    if key == "features" and features(_OPTION.match(lines[places[-1]])["value"]) == features(value):  # type: ignore[index]
        new = lines[places[-1]]
    return [
        new if n == places[-1] else line
        for n, line in enumerate(lines)
        if n not in places or n == places[-1]
    ]
