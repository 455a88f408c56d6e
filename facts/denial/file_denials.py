"""Denials of files, links among them. Source: kernel ``security/apparmor/file.c``.

Of a file by which a process rules the kernel: kernel Documentation/admin-guide/sysctl/kernel.rst
(core_pattern, modprobe).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facts.denial.denial_class import PART, DenialClass
from facts.denial.profile_text import matches

if TYPE_CHECKING:
    from facts.denial.denial_class import Record

#: What a file was opened for, by the letters of the mask.
_ACCESS = {
    "r": "read",
    "w": "write",
    "a": "append to",
    "c": "create",
    "d": "delete",
    "m": "map as a program",
    "k": "lock",
    "l": "link",
    "x": "run",
}
#: What an operation on a file says by itself.
_VERBS = {
    "mkdir": "make the directory",
    "rmdir": "remove the directory",
    "mknod": "create",
    "unlink": "delete",
    "symlink": "make the symbolic link",
    "truncate": "truncate",
    "rename_src": "rename",
    "rename_dest": "rename something to",
    "chmod": "change the mode of",
    "chown": "change the owner of",
    "exec": "run",
    "file_lock": "lock",
    "getattr": "look at the state of",
}
#: A file's permissions as the kernel writes them, and as a profile does; in a profile's order.
_GRANTED = {**{letter: letter for letter in "rwamkl"}, **dict.fromkeys("cd", "w"), "x": "ix"}
_WRITES = frozenset("wacdl")
_USES = _WRITES | {"r"}
#: Files by which a process that may write them rules the kernel, or reads its memory.
_DANGEROUS = (
    (r"/proc/sysrq-trigger", _WRITES, "it restarts or halts the node"),
    (r"/proc/sys/kernel/(core_pattern|modprobe|hotplug)", _WRITES, "the node runs what it names"),
    (r"/proc/sys/.*|/sys/net/.*", _WRITES, "settings of the kernel, some of them the node's"),
    (r"/sys/kernel/security/.*", _WRITES, "AppArmor's own policy"),
    (r"/sys/kernel/(debug|tracing)/.*", _USES | {"x"}, "the kernel's insides"),
    (r"/sys/.*/uevent_helper|.*/release_agent", _WRITES, "the node runs what it names"),
    (r"/sys/firmware/.*", _WRITES, "the node's firmware"),
    (r"/sys/.*", _WRITES, "settings of the node's devices and kernel"),
    (r"/proc/(kcore|kmem|keys|kallsyms)", _USES, "the kernel's memory or addresses"),
    (r"/proc/[0-9]+/mem", _USES, "the memory of another process"),
    (r"/dev/(mem|kmem|port)", _USES, "the node's memory"),
    (
        r"/dev/(sd|nvme|vd|xvd|dm-|mapper/|md|zd|zvol/|rbd|loop-control).*",
        _USES,
        "a disk of the node, below every file's permissions",
    ),
)


def _wanted(record: Record) -> str:
    operation = record.get("operation", "")
    if "name" not in record:
        shown = record.shown("operation")
        return f"do what AppArmor calls {shown} (the record does not name what)"
    name = record.shown("name")
    if operation == "link":
        return f"make the hard link {name} to {record.shown('target')}"
    if verb := _VERBS.get(operation):
        return f"{verb} {name}"
    verbs = list(dict.fromkeys(_ACCESS.get(letter, letter) for letter in record.letters))
    return f"{' and '.join(verbs) or operation or 'use'} {name}"


def rule(record: Record) -> str:
    """A file's own rule; of the owner alone if the file was the process's own."""
    name, denied = record.path("name"), record.denied or record["denied_mask"]
    owner = "owner " if record.get("fsuid") and record.get("fsuid") == record.get("ouid") else ""
    if denied == "l" and record.get("target"):
        return f"{owner}link {name} -> {record['target']}"
    letters = set(re.sub(r"[^a-z]", "", denied))
    if unknown := letters - _GRANTED.keys():
        raise KeyError(f"permission that is known here, but {'/'.join(sorted(unknown))}")
    granted = {_GRANTED[letter] for letter in letters}
    if "w" in granted:
        granted.discard("a")
    access = "".join(word for word in dict.fromkeys(_GRANTED.values()) if word in granted)
    return f"{owner}{name} {access}"


def _danger(record: Record) -> str:
    letters, name = set(record.letters), record.get("name", "")
    for pattern, access, why in _DANGEROUS:
        if letters & access and re.fullmatch(pattern, name):
            return why
    return ""


def _forbids(text: str, record: Record) -> bool:
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
    name, _, target = re.sub(r"^\s*subset\s+", "", text).partition("->")
    return matches(name.strip(), record.get("name", "")) and (
        not target or matches(target.strip(), record.get("target", ""))
    )


DENY = {"file": _forbids}
#: Also what no other class is about.
FILE = DenialClass(_wanted, rule, DENY, _danger)
CLASSES = {"link": DenialClass(_wanted, rule, {"link": _forbids_link}, _danger)}
