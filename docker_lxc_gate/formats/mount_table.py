"""The mounts that a process sees, and which of them a path lies on.

Sources: proc_pid_mountinfo(5), user_namespaces(7); FS_USERNS_MOUNT in the kernel's fs/,
drivers/android/binderfs.c and ipc/mqueue.c (6.12), and in openzfs, zpl_super.c.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError

#: The fields of a line before its hyphen, without the optional ones, and after it.
_BEFORE, _AFTER = 6, 3
#: The types that the root of a user namespace may mount: overlay since Linux 5.11, fuse since 4.18,
#: binfmt_misc since 6.7, zfs since 2.2.
BY_GUESTS = frozenset(
    {"binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "devpts", "fuse", "mqueue", "overlay"}
    | {"proc", "ramfs", "shiftfs", "sysfs", "tmpfs", "zfs"}
)


@dataclass(frozen=True)
class Mount:
    """One mount: where, of which type, from what, with which options, and on which other mount.

    ``device`` is the number of its file system; ``root`` is the directory there that is mounted.
    """

    place: str
    type: str
    source: str
    options: tuple[str, ...] = ()
    number: str = ""
    parent: str = ""
    device: str = ""
    root: str = "/"


def parse(text: str, what: str) -> tuple[Mount, ...]:
    """Return the mounts of ``/proc/PID/mountinfo``; raises FactError if it cannot be read.

    The error says ``what`` this is. In the guest's names, the kernel escapes no white space but
    blank, tab and line feed.
    """
    mounts = []
    for line in filter(None, text.split("\n")):
        before, _, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if len(left) < _BEFORE or len(right) < _AFTER:
            raise FactError(f"{what} cannot be read: {line!r:.200}")
        number, parent, device, root, place, options = left[:_BEFORE]
        source, more = _unescaped(right[1]), (number, parent, device, _unescaped(root))
        mounts.append(Mount(_unescaped(place), right[0], source, tuple(options.split(",")), *more))
    if not mounts:
        raise FactError(f"{what} cannot be read: there is none")
    return tuple(mounts)


def _unescaped(text: str) -> str:
    return patterns.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)


def below(mounts: Sequence[Mount], path: str) -> Mount:
    """Return the mount that a path lies on, as the kernel walks to it from the root.

    A later mount hides what was mounted below its place before.
    """
    wanted = posixpath.normpath(path)
    numbers = {mount.number for mount in mounts}
    holder = Mount("/", "an unknown file system", "")
    on: dict[str, list[Mount]] = {}
    for mount in mounts:
        place = mount.place.rstrip("/")
        if not place or wanted == place or wanted.startswith(f"{place}/"):
            parent = mount.parent if mount.parent != mount.number else ""
            on.setdefault(parent if parent in numbers else "", []).append(mount)
    number = ""
    while there := on.pop(number, None):
        holder = min(there, key=lambda mount: len(mount.place))
        number = holder.number
    return holder
