"""auditd's log of a window, read on from where the last look ended.

What was read is kept. A look reads what came since then, and first proves on the node that the file
still holds what was read last: its inode, and a checksum of the bytes in front of that place. A log
that was cut and grew again is noticed by that. Sources: auditd.conf(5) (max_log_file_action),
proc(5) (fdinfo).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit.audit_records import AUDIT_LOG
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Transport, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Marks output that was not read to its end: a pipe's exit code is that of its last program.
_CUT = "docker-lxc-gate: not read to its end"
#: Says how far a file was read: its inode, the bytes, and a checksum of the last of them.
_READ = "docker-lxc-gate: read"
#: Says that the name is now that of another file than was listed.
_OTHER = "docker-lxc-gate: another file"
#: Says that the file is the same, and that what was read of it is not in it any more.
_CHANGED = "docker-lxc-gate: another content"
_DENIALS = program("docker_lxc_gate.facts", "audit_log.sh")
_TOLD = patterns.compile(rf"(?m)^{_READ} ([0-9]{{1,20}}) ([0-9]{{1,20}}) ([0-9a-f]{{64}})\n\z")
#: Limit for the denials of one log file, and of a window (bytes).
_LONGEST = 64 << 20
#: How often a log is looked for that is renamed at this very moment.
_ATTEMPTS = 3


@dataclass(frozen=True)
class _Part:
    """What was read of one file: its text, the next byte, and a checksum of those before it."""

    text: str
    next: int
    seen: str = ""


class AuditLog:
    """auditd's log from a place on, through its rotations.

    Args:
        node: whose.
        inode: of the file in which it begins; empty if there is none.
        size: where it begins there (bytes).
    """

    def __init__(self, node: Transport, inode: str, size: int) -> None:
        self._node, self._inode = node, inode
        self._parts = {inode: _Part("", size + 1)}

    @property
    def kept(self) -> str:
        """What was read so far, and will not be read again."""
        return "".join(each.text for each in self._parts.values())

    def text(self) -> str:
        """Return the denials, and auditd's and the kernel's records of changes, since the place.

        No other record leaves the node, because some hold command lines.

        Raises:
            FactError: a part of the log is gone, was changed, or cannot be read to its end.
            CommandFailed: the logs cannot be listed.
        """
        for _ in range(_ATTEMPTS):
            found = [self._read(inode, path) for inode, path in self._files()]
            if None not in found:
                text = "".join(each for each in found if each is not None)
                if len(text) > _LONGEST:
                    raise FactError(f"the window has more than {_LONGEST >> 20} MiB of denials")
                return text
        raise FactError(f"{AUDIT_LOG}, a part of the window, was renamed each time it was read")

    def _files(self) -> Iterator[tuple[str, str]]:
        """Yield the inode and the path of each file since the place, oldest first."""
        files = self._node.look(
            ["find", "/var/log/audit", "-name", "audit.log*", "-printf", "%i %p\\n"]
        ).require()
        paths = dict(line.split(" ", 1) for line in files.text.splitlines() if " " in line)
        inodes = {path: inode for inode, path in paths.items()}
        if self._inode not in paths:
            raise FactError("audit.log of the window's start was rotated away or removed")
        first = paths[self._inode]
        named = patterns.fullmatch(rf"{patterns.escape(AUDIT_LOG)}(?:\.([0-9]{{1,6}}))?", first)
        if named is None:  # logrotate's dateext: the order of the files is not known
            raise FactError(f"audit.log of the window's start was rotated to {first}")
        number = int(named[1] or 0)
        yield self._inode, first
        newer = [f"{AUDIT_LOG}.{n}" for n in range(number - 1, 0, -1)]
        for path in newer + [AUDIT_LOG] * bool(number):
            yield inodes.get(path, ""), path

    def _read(self, inode: str, path: str) -> str | None:
        """Return what a file holds since the place; None if its name was given to another one."""
        known = self._parts.get(inode, _Part("", 1))
        argv = ["sh", "-c", _DENIALS, "denials", path, str(known.next), inode, known.seen]
        with at_most(_LONGEST):
            found = self._node.look(argv)
        if not found.ok or _CUT in found.text:
            why = found.stderr.decode(errors="replace").strip()
            raise FactError(f"{path}, a part of the window, cannot be read to its end: {why}")
        if found.text == f"{_OTHER}\n":
            return None
        if found.text == f"{_CHANGED}\n":
            raise FactError(f"{path} was cut in the window: records are gone")
        told = _TOLD.search(found.text)
        text = known.text + (found.text[: told.start()] if told else found.text)
        if told and told[1] == inode:
            self._parts[inode] = _Part(text, int(told[2]) + 1, told[3])
        return text
