"""Denials of mounts: new ones, changed ones, unmounting, and another root.

Sources: mount_namespaces(7); kernel ``security/apparmor/mount.c``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facts.denial.denial_class import DenialClass, hold, is_path, parts_of
from facts.denial.profile_text import matches

if TYPE_CHECKING:
    from facts.denial.denial_class import Record

_CHANGES = ("private", "slave", "shared", "unbindable")
_RECURSIVE_CHANGES = frozenset(f"r{change}" for change in _CHANGES)
_RECURSIVE = _RECURSIVE_CHANGES | {"rbind"}
#: The flags by which AppArmor tells changes, bind mounts and moves from new mounts, which alone
#: have a type.
_CHANGED = _RECURSIVE_CHANGES.union(_CHANGES)
_BOUND = frozenset({"bind", "rbind"})
_ALONE = (_BOUND, frozenset({"move"}), _CHANGED)
#: What a file system that the kernel keeps shows and takes, wherever it is mounted.
_KERNELS = re.compile(
    "proc|sysfs|securityfs|debugfs|tracefs|configfs|bpf|binfmt_misc|cgroup2?|devtmpfs"
)
#: A file system of a device: the guest chooses what the kernel's driver reads.
_DRIVERS = re.compile("ext[234]|xfs|btrfs|f2fs|vfat|exfat|ntfs3?|iso9660|udf|zfs")
_WATCHED = re.compile(r"/(proc|sys|dev)(/|$)|/$")


def _wanted(record: Record) -> str:
    name, flags = record.shown("name"), record.get("flags", "")
    words = [word.strip() for word in flags.split(",")]
    shown = f" ({flags})" if flags else ""
    for change in _CHANGES:
        for flag in (change, f"r{change}", f"make-{change}", f"make-r{change}"):
            if flag in words:
                below = " and all mounts below it" if flag.startswith(("r", "make-r")) else ""
                return f"make the mount {name}{below} {change}{shown}"
    source = record.get("srcname", "")
    if "remount" in words:
        return f"remount {name}{shown}"
    if "bind" in words or "rbind" in words:
        return f"bind {source or 'something'} on {name}{shown}"
    if "move" in words:
        what = source or "a mount that has no place yet (of the new mount calls)"
        return f"move {what} to {name}{shown}"
    made = f"a file system of type {record['fstype']}" if record.get("fstype") else "a file system"
    origin = f" from {source}" if source and source != record.get("fstype") else ""
    return f"mount {made}{origin} on {name}{shown}"


def _rule(record: Record) -> str:
    """A rule of a mount: of a source and a type only where such a mount has them.

    Of a new mount without any flag, the kernel writes no flags.
    """
    written = record.get("flags") or ("rw" if record.get("fstype") else record["flags"])
    flags = written.replace(" ", "").split(",")
    parts = ["mount", f"options=({','.join(flags)})"]
    new = not (_CHANGED | {"remount"}) & set(flags)
    if new and not (_BOUND | {"move"}) & set(flags) and (fstype := record.get("fstype")):
        parts.append(f"fstype={fstype}")
    if new and is_path(source := record.get("srcname", "")):
        parts.append(source)
    return " ".join([*parts, "->", record.path("name")])


def _pivot_root(record: Record) -> str:
    old = record.get("srcname", "")
    return f"pivot_root{f' oldroot={old}' if is_path(old) else ''} {record.path('name')}"


def _danger(record: Record) -> str:
    flags = record.flags
    name, source, fstype = (record.get(key, "") for key in ("name", "srcname", "fstype"))
    if flags & _BOUND and "remount" not in flags:
        elsewhere = _WATCHED.match(source) and name != source
        return (
            f"at {name} the files of {source} have names that the profile's rules do not know"
            if elsewhere
            else ""
        )
    if "move" in flags and not source:
        return "of the new mount calls: the rule cannot say which type of file system"
    if _KERNELS.fullmatch(fstype):
        return f"at {name} the files of {fstype} have names that the profile's rules do not know"
    if _DRIVERS.fullmatch(fstype):
        return f"the kernel's driver of {fstype} reads what the container has written"
    return ""


def _uncovers(record: Record) -> str:
    covered = re.match(r"/(proc|sys|dev)/.", record.get("name", ""))
    return "what this mount covers is seen again" if covered else ""


def _forbids(text: str, record: Record) -> bool:
    conditions, words, _ = parts_of(text)
    if not _flagged(conditions, record):
        return False
    if {"fstype", "vfstype"} & conditions.keys() and not record.get("fstype"):
        return False  # such a rule is about new mounts alone
    source, target = "", ""
    if "->" in words:
        at = words.index("->")
        source, target = "".join(words[:at]), "".join(words[at + 1 :])
    elif words:
        source, target = ("", words[0]) if record.get("operation") == "umount" else (words[0], "")
    return (
        hold(conditions, record)
        and (not source or matches(source, record.get("srcname", "")))
        and (not target or matches(target, record.get("name", "")))
    )


def _flagged(
    conditions: dict[str, tuple[str, str]], record: Record, named: frozenset[str] = frozenset()
) -> bool:
    """Take the options out of a rule's conditions; return whether a mount's flags are those.

    What changes a mount, or mounts what is there, is compared by the flags that say so alone.

    Args:
        conditions: of the rule.
        record: of the mount.
        named: the flag that the rule's own name says.
    """
    options = conditions.pop("options", None) or conditions.pop("option", None)
    if not options:
        return True
    sign, listed = options
    flags = record.flags - {"rw"}
    asked = {word.removeprefix("make-") for word in re.split(r"[\s,]+", listed)} - {""}
    asked |= named
    if sign != "=":  # each bit may be set or not: that of "ro", and that of what is recursive
        asked |= {"ro"} if "rw" in asked else set()
        return flags <= asked | {word[1:] for word in asked if word in _RECURSIVE}
    alone = next((kind for kind in _ALONE if asked & kind and "remount" not in asked), asked)
    return (asked & alone) - {"rw"} == flags


def _forbids_place(text: str, record: Record) -> bool:
    """A rule about one place: pivot_root, remount."""
    conditions, words, _ = parts_of(text)
    if not _flagged(conditions, record, frozenset({"remount"})):
        return False
    places = [word for word in words if word != "->"]
    return hold(conditions, record) and (not places or matches(places[0], record.get("name", "")))


def _forbids_remount(text: str, record: Record) -> bool:
    return "remount" in record.get("flags", "") and _forbids_place(text, record)


CLASSES = {
    "mount": DenialClass(_wanted, _rule, {"mount": _forbids, "remount": _forbids_remount}, _danger),
    "remount": DenialClass(
        lambda record: f"remount {record.shown('name')}",
        lambda record: (
            f"remount options=({record['flags'].replace(' ', '')}) {record.path('name')}"
        ),
        {"remount": _forbids_place},
        _danger,
    ),
    "umount": DenialClass(
        lambda record: f"unmount {record.shown('name')}",
        lambda record: f"umount {record.path('name')}",
        {"umount": _forbids},
        _uncovers,
    ),
    "pivotroot": DenialClass(
        lambda record: f"make {record.shown('name')} its root (pivot_root)",
        _pivot_root,
        {"pivot_root": _forbids_place},
    ),
}
