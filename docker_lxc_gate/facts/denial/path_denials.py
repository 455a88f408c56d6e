"""Denials of what has a place in the file tree: files, links, mounts, and the root itself.

Sources: mount_namespaces(7); kernel ``security/apparmor/{file,mount}.c``.
"""

from __future__ import annotations

from dataclasses import replace

from docker_lxc_gate import patterns
from docker_lxc_gate.facts.denial.denial_class import (
    KNOWN,
    PART,
    DenialClass,
    NoRule,
    Record,
    hold,
    is_path,
    parts_of,
)
from docker_lxc_gate.facts.denial.profile_text import matches

#: A file's permissions as the kernel writes them, and as a profile does; in a profile's order.
_GRANTED = {**{letter: letter for letter in "rwamkl"}, **dict.fromkeys("cd", "w"), "x": "ix"}
_CHANGES = ("private", "slave", "shared", "unbindable")
_RECURSIVE_CHANGES = frozenset(f"r{change}" for change in _CHANGES)
_RECURSIVE = _RECURSIVE_CHANGES | {"rbind"}
#: The flags by which AppArmor tells changes, bind mounts and moves from new mounts, which alone
#: have a type.
_CHANGED = _RECURSIVE_CHANGES.union(_CHANGES)
_BOUND = frozenset({"bind", "rbind"})
_ALONE = (_BOUND, frozenset({"move"}), _CHANGED)
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


def _file_forbids(text: str, record: Record) -> bool:
    words = [word for *_, word in PART.findall(text) if word]
    paths = [word for word in words if word.startswith(("/", '"/', "@", "{"))]
    if not paths:
        return not words
    letters = {letter for word in words if word.isalpha() for letter in word}
    wanted = {_GRANTED[letter] if letter in "cd" else letter for letter in record.letters}
    if "w" in letters:
        letters.add("a")
    return bool(wanted & letters) and matches(paths[0], record.get("name", ""))


def _forbids_link(text: str, record: Record) -> bool:
    name, _, target = patterns.sub(r"^\s*subset\s+", "", text).partition("->")
    return matches(name.strip(), record.get("name", "")) and (
        not target or matches(target.strip(), record.get("target", ""))
    )


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
        if record.of_container and fstype.partition(".")[0] not in KNOWN.file_systems["by_guests"]:
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
    if fstype in KNOWN.file_systems["kernels"]:
        return f"at {name} the files of {fstype} have names that the profile's rules do not know"
    if fstype in KNOWN.file_systems["drivers"]:
        return f"the kernel's driver of {fstype} reads what the container has written"
    return ""


def _uncovers(record: Record) -> str:
    covered = patterns.match(r"/(proc|sys|dev)/.", record.get("name", ""))
    return "what this mount covers is seen again" if covered else ""


def _mount_forbids(text: str, record: Record) -> bool:
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
    ``named`` is the flag that the rule's own name says.
    """
    options = conditions.pop("options", None) or conditions.pop("option", None)
    if not options:
        return True
    sign, listed = options
    flags = record.flags - {"rw"}
    asked = {word.removeprefix("make-") for word in patterns.split(r"[\s,]+", listed)} - {""}
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


#: Also what no other class is about.
FILE = DenialClass(_file_wanted, _file_rule, {"file": _file_forbids}, _file_danger)
CLASSES = {
    "link": replace(FILE, deny={"link": _forbids_link}),
    "mount": DenialClass(
        _mount_wanted,
        _mount_rule,
        {"mount": _mount_forbids, "remount": _forbids_remount},
        _mount_danger,
        nests=True,
    ),
    "remount": DenialClass(
        lambda record: f"remount {record.shown('name')}",
        lambda record: (
            f"remount options=({record['flags'].replace(' ', '')}) {record.path('name')}"
        ),
        {"remount": _forbids_place},
        _mount_danger,
        nests=True,
    ),
    "umount": DenialClass(
        lambda record: f"unmount {record.shown('name')}",
        lambda record: f"umount {record.path('name')}",
        {"umount": _mount_forbids},
        _uncovers,
        nests=True,
    ),
    "pivotroot": DenialClass(
        lambda record: f"make {record.shown('name')} its root (pivot_root)",
        _pivot_root,
        {"pivot_root": _forbids_place},
        nests=True,
    ),
}
