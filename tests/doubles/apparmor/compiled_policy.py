"""A compiled AppArmor profile, asked as the kernel asks it: is this mount allowed?

Sources: kernel security/apparmor/policy_unpack.c, match.c (the tables of the automaton), mount.c
(do_match_mnt, aa_bind_mount, aa_mount_change_type, aa_move_mount, aa_remount).
"""

import struct
from dataclasses import dataclass

from tests.doubles.apparmor.apparmor_parser import compiled

_MAGIC = bytes.fromhex("1b5e783d")
_ACCEPT, _BASE, _CHECK, _DEFAULT, _CLASSES, _NEXT = 1, 2, 3, 4, 5, 8
_DIFFERENCE, _INDEX = 1 << 31, 0xFFFFFF
_MOUNT = 7
_MAY_MOUNT, _MAY_UMOUNT, _MAY_PIVOT = 0x2, 0x4, 0x1
_ARRAY, _FIELDS = 11, 14
#: The bits of mount(2), by the words that the kernel writes for them (audit_mnt_flags).
FLAGS = {
    "ro": 0,
    "nosuid": 1,
    "nodev": 2,
    "noexec": 3,
    "sync": 4,
    "remount": 5,
    "mand": 6,
    "dirsync": 7,
    "noatime": 10,
    "nodiratime": 11,
    "bind": 12,
    "move": 13,
    "silent": 15,
    "acl": 16,
    "unbindable": 17,
    "private": 18,
    "slave": 19,
    "shared": 20,
    "relatime": 21,
    "iversion": 23,
    "strictatime": 24,
}
_RECURSIVE = 14


@dataclass(frozen=True)
class Automaton:
    """The automaton of a profile's policy, without that of its files, and its permissions."""

    tables: dict[int, list[int]]
    allowed: list[int]

    def step(self, state: int, char: int) -> int:
        """Return the state after a character."""
        if _CLASSES in self.tables:
            char = self.tables[_CLASSES][char]
        while True:
            base = self.tables[_BASE][state]
            place = (base & _INDEX) + char
            if self.tables[_CHECK][place] == state:
                return self.tables[_NEXT][place]
            state = self.tables[_DEFAULT][state]
            if not base & _DIFFERENCE:
                return state

    def text(self, state: int, text: str) -> int:
        """Return the state after a text and the zero that ends it."""
        for char in text.encode():
            state = self.step(state, char)
        return self.step(state, 0)

    def accepts(self, state: int, permission: int) -> bool:
        """Whether a permission is given in a state."""
        return bool(self.allowed[self.tables[_ACCEPT][state]] & permission)


def policy_of(rules: str) -> Automaton:
    """Return what a profile with these rules compiles to, without its rules of files."""
    blob = _compiled(rules)
    return _automaton(blob, blob.index(b"policydb\0"))


def _compiled(rules: str) -> bytes:
    return compiled(f"abi <abi/4.0>,\nprofile x {{\n{rules}\n}}\n")


def _automaton(blob: bytes, begin: int) -> Automaton:
    at = blob.index(_MAGIC, begin)
    size, length = struct.unpack_from(">II", blob, at + 4)
    tables, here = dict[int, list[int]](), at + size
    while here < at + length:
        kind, width, _, count = struct.unpack_from(">HHII", blob, here)
        letter = {1: "B", 2: "H", 4: "I"}[width]
        tables[kind] = list(struct.unpack_from(f">{count}{letter}", blob, here + 12))
        here += (12 + count * width + 7) // 8 * 8
    return Automaton(tables, _allowed(blob, begin))


def _allowed(blob: bytes, begin: int) -> list[int]:
    """Return what each entry of the table of permissions allows."""
    at = blob.index(b"version\0", blob.index(b"perms\0", begin)) + len(b"version\0") + 5
    array, count = struct.unpack_from("<BH", blob, at)
    assert array == _ARRAY
    entry = struct.Struct("<" + "BI" * _FIELDS)
    return [entry.unpack_from(blob, at + 3 + n * entry.size)[3] for n in range(count)]


def bits(flags: str) -> int:
    """Return the flags that the kernel compares, from the words of its record."""
    found = 0
    for word in flags.replace(" ", "").split(","):
        plain = word.removeprefix("r")
        if word in FLAGS:
            found |= 1 << FLAGS[word]
        elif plain in FLAGS:
            found |= 1 << FLAGS[plain] | 1 << _RECURSIVE
        else:
            assert word in {"rw", ""}, word
    return found


def allows_mount(policy: Automaton, name: str, source: str, fstype: str, flags: str) -> bool:
    """Whether a mount is allowed, as the kernel decides it.

    Args:
        policy: of the profile.
        name: where it is mounted.
        source: what is mounted; empty where there is none.
        fstype: the type of the file system; empty where there is none.
        flags: in the words of the kernel's record.
    """
    state = policy.step(1, _MOUNT)
    for text in (name, source, fstype):
        state = policy.text(state, text)
    wanted = bits(flags)
    for bit in range(32):
        if wanted >> bit & 1:
            state = policy.step(state, bit + 1)
    return policy.accepts(state, _MAY_MOUNT)


def allows_umount(policy: Automaton, name: str) -> bool:
    """Whether to unmount is allowed."""
    state = policy.step(1, _MOUNT)
    for char in name.encode():
        state = policy.step(state, char)
    return policy.accepts(state, _MAY_UMOUNT)


def allows_pivot(policy: Automaton, new: str, old: str) -> bool:
    """Whether a process may make ``new`` its root and put the former one at ``old``."""
    state = policy.text(policy.step(1, _MOUNT), new)
    for char in old.encode():
        state = policy.step(state, char)
    return policy.accepts(state, _MAY_PIVOT)
