"""Denials of what has a place in the file tree: files, links, mounts, and the root itself.

Sources: mount_namespaces(7); kernel ``security/apparmor/{file,mount}.c``.
"""

from __future__ import annotations

from docker_lxc_gate import patterns
from docker_lxc_gate.facts.denial.denial_class import (
    KNOWN,
    DenialClass,
    NoRule,
    Record,
    is_path,
)
from docker_lxc_gate.formats.mount_table import BY_GUESTS

#: A file's permissions as the kernel writes them, and as a profile does; in a profile's order.
_GRANTED = {**{letter: letter for letter in "rwamkl"}, **dict.fromkeys("cd", "w"), "x": "ix"}
_CHANGES = ("private", "slave", "shared", "unbindable")
_RECURSIVE_CHANGES = frozenset(f"r{change}" for change in _CHANGES)
#: The flags by which AppArmor tells changes, bind mounts and moves from new mounts, which alone
#: have a type.
_CHANGED = _RECURSIVE_CHANGES.union(_CHANGES)
_BOUND = frozenset({"bind", "rbind"})
_WATCHED = patterns.compile(r"/(proc|sys|dev)(/|$)|/$")


def _file_wanted(record: Record) -> str:
    operation = record.get("operation", "")
    if "name" not in record:
        shown = record.shown("operation")
        return f"do what AppArmor calls {shown} (the record does not name what)"
    name = record.shown("name")
    if operation == "link":
        return f"make the hard link {name} to {record.shown('target')}"
    if verb := KNOWN.verbs.get(operation):
        return f"{verb} {name}"
    verbs = list(dict.fromkeys(KNOWN.access.get(letter, letter) for letter in record.letters))
    return f"{' and '.join(verbs) or operation or 'use'} {name}"


def _file_rule(record: Record) -> str:
    """A file's own rule; of the owner alone if the file was the process's own."""
    name, denied = record.path("name"), record.denied or record["denied_mask"]
    owner = "owner " if record.get("fsuid") and record.get("fsuid") == record.get("ouid") else ""
    if denied == "l" and record.get("target"):
        return f"{owner}link {name} -> {record['target']}"
    letters = set(patterns.sub(r"[^a-z]", "", denied))
    if unknown := letters - _GRANTED.keys():
        raise KeyError(f"permission that is known here, but {'/'.join(sorted(unknown))}")
    granted = {_GRANTED[letter] for letter in letters}
    if "w" in granted:
        granted.discard("a")
    access = "".join(word for word in dict.fromkeys(_GRANTED.values()) if word in granted)
    return f"{owner}{name} {access}"


def _file_danger(record: Record) -> str:
    letters, name = set(record.letters), record.get("name", "")
    for pattern, access, why in KNOWN.files:
        if letters & set(access) and patterns.fullmatch(f"(?s){pattern}", name):
            return why
    return ""


def _mount_wanted(record: Record) -> str:
    name, flags = record.shown("name"), record.get("flags", "")
    words = [word.strip() for word in flags.split(",")]
    shown = f" ({flags})" if flags else ""
    for change in (word.removeprefix("make-") for word in words):
        if change in _CHANGED:
            below = " and all mounts below it" if change in _RECURSIVE_CHANGES else ""
            return f"make the mount {name}{below} {change.removeprefix('r')}{shown}"
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


def _mount_rule(record: Record) -> str:
    """A rule of a mount: of a source and a type only where such a mount has them.

    Of a new mount without any flag, the kernel writes no flags. Whether the root of a user
    namespace may mount a type, the kernel decides after AppArmor.
    """
    written = record.get("flags") or ("rw" if record.get("fstype") else record["flags"])
    flags = written.replace(" ", "").split(",")
    parts = ["mount", f"options=({','.join(flags)})"]
    new = not (_CHANGED | {"remount"}) & set(flags)
    if new and not (_BOUND | {"move"}) & set(flags) and (fstype := record.get("fstype")):
        if record.of_container and fstype.partition(".")[0] not in BY_GUESTS:
            kept = "kernels" if fstype in KNOWN.file_systems["kernels"] else "others"
            raise NoRule(KNOWN.not_by_guests[kept].format(fstype=fstype))
        parts.append(f"fstype={fstype}")
    if new and is_path(source := record.get("srcname", "")):
        parts.append(source)
    return " ".join([*parts, "->", record.path("name")])


def _pivot_root(record: Record) -> str:
    old = record.get("srcname", "")
    return f"pivot_root{f' oldroot={old}' if is_path(old) else ''} {record.path('name')}"


def _mount_danger(record: Record) -> str:
    flags = {*patterns.split(r"[\s,]+", record.get("flags", ""))}
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
    if fstype in KNOWN.file_systems["kernels"]:
        return f"at {name} the files of {fstype} have names that the profile's rules do not know"
    if fstype in KNOWN.file_systems["drivers"]:
        return f"the kernel's driver of {fstype} reads what the container has written"
    return ""


def _uncovers(record: Record) -> str:
    covered = patterns.match(r"/(proc|sys|dev)/.", record.get("name", ""))
    return "what this mount covers is seen again" if covered else ""


#: Also what no other class is about.
FILE = DenialClass(_file_wanted, _file_rule, _file_danger)
CLASSES = {
    "mount": DenialClass(
        _mount_wanted,
        _mount_rule,
        _mount_danger,
        nests=True,
    ),
    "remount": DenialClass(
        lambda record: f"remount {record.shown('name')}",
        lambda record: (
            f"remount options=({record['flags'].replace(' ', '')}) {record.path('name')}"
        ),
        _mount_danger,
        nests=True,
    ),
    "umount": DenialClass(
        lambda record: f"unmount {record.shown('name')}",
        lambda record: f"umount {record.path('name')}",
        _uncovers,
        nests=True,
    ),
    "pivotroot": DenialClass(
        lambda record: f"make {record.shown('name')} its root (pivot_root)",
        _pivot_root,
        nests=True,
    ),
}
