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
#: What gives a container /dev/fuse, as Proxmox writes it for ``fuse=1``.
FUSE_ENTRY = "/dev/fuse dev/fuse none bind,create=file 0 0"
#: LXC's own list of refused system calls; keyctl is not among them.
COMMON_SECCOMP = "/usr/share/lxc/config/common.seccomp"
#: LXC's profiles that refuse nested mounts, each unless ``allow_nesting`` is set.
_NOT_NESTING = re.compile(r"(generated|lxc-container-default(-cgns)?)?")


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


def volumes(text: str) -> tuple[str, ...]:
    r"""Return what a configuration says of disks and snapshots, which it must never lose.

    >>> volumes("arch: amd64\nrootfs: local:951/disk.raw\nmp0: local:x,mp=/x\n[before]\n")
    ('rootfs: local:951/disk.raw', 'mp0: local:x,mp=/x', '[before]')
    """
    kept = re.compile(r"(rootfs|mp\d+|unused\d+|parent|lxc\.rootfs\.path)\s*[:=]|\[")
    return tuple(line.strip() for line in text.splitlines() if kept.match(line))


def missing_fields(entry: str) -> tuple[str, ...]:
    """Return the names of the fields that a mount entry lacks.

    >>> missing_fields("/dev/fuse")
    ('target', 'type', 'options')
    >>> missing_fields("/dev/fuse dev/fuse none bind,create=file 0 0")
    ()
    """
    return MOUNT_ENTRY_FIELDS[len(entry.split()) :]


def cut_entries(written: ContainerConfig) -> tuple[Option, ...]:
    """Return the mount entries in effect that lack a field: no container starts on one."""
    return tuple(o for o in written.all("lxc.mount.entry") if missing_fields(o.value))


def refuses_keyrings(seccomp: str) -> bool:
    r"""Say whether a list of system calls refuses keyctl, as Proxmox's does without ``keyctl=1``.

    >>> refuses_keyrings("2\ndenylist\n[all]\nkeyctl errno 38\n")
    True
    """
    lines = [line.split() for line in seccomp.splitlines()]
    named = ["keyctl"] in [words[:1] for words in lines]
    listed = any(words[:1] in (["allowlist"], ["whitelist"]) for words in lines)
    return not named if listed else named


def granted(effective: ContainerConfig, seccomp: str) -> dict[str, str]:
    """Return plain LXC's configuration in the words of Proxmox's ``features``.

    Nesting is given by ``allow_nesting``, or by a profile of its own, whose rules then decide.

    Args:
        effective: with its includes resolved.
        seccomp: the list of system calls that it names; empty if it names none.
    """
    options = effective.current()
    nesting = options.get("lxc.apparmor.allow_nesting") == "1" or not _NOT_NESTING.fullmatch(
        options.get("lxc.apparmor.profile", "")
    )
    given = {
        "nesting": nesting,
        "keyctl": not refuses_keyrings(seccomp),
        "fuse": any(map(gives_fuse, effective.all("lxc.mount.entry"))),
    }
    return {name: "1" for name, is_given in given.items() if is_given}


def gives_fuse(entry: Option) -> bool:
    """Say whether a mount entry is whole and puts something at ``/dev/fuse``."""
    fields = entry.value.split()
    return not missing_fields(entry.value) and fields[1].lstrip("/") == "dev/fuse"


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
        head = _set(head, key, f"{key}: {value}\n")
    return "".join(head + tail + rest)


def with_lxc_options(text: str, raw: dict[str, str]) -> str:
    """Return plain LXC's configuration with these keys set, and ``/dev/fuse`` given.

    A key that an include could hold comes after the last include, for instance the profile after
    ``nesting.conf``, which names another: the last assignment wins. Everything else is kept, mount
    entries that are cut short, too: see :func:`cut_entries`.

    Args:
        text: the container's ``config`` as it is.
        raw: keys to set, each exactly once.
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for key, value in raw.items():
        lines = _set(lines, key, f"{key} = {value}\n")
    if not any(map(gives_fuse, parse("", text).all("lxc.mount.entry"))):
        lines.append(f"lxc.mount.entry = {FUSE_ENTRY}\n")
    return "".join(lines)


def _set(lines: list[str], key: str, new: str) -> list[str]:
    """Set a key once: where it stands last, or at the end. A line that says it already stays."""
    places = [n for n, line in enumerate(lines) if (m := _OPTION.match(line)) and m["key"] == key]
    includes = [n for n, line in enumerate(lines) if re.match(r"lxc\.include\s*[:=]", line)]
    if not places or (key.startswith("lxc.") and includes and includes[-1] > places[-1]):
        # The last assignment wins, and an include may hold one.
        return [*(line for n, line in enumerate(lines) if n not in places), new]
    last = lines[places[-1]]
    if _value(last) == _value(new) or (
        key == "features" and features(_value(last)) == features(_value(new))
    ):
        new = last
    return [
        new if n == places[-1] else line
        for n, line in enumerate(lines)
        if n not in places or n == places[-1]
    ]


def _value(line: str) -> str:
    option = _OPTION.match(line)
    return option["value"] if option else ""
