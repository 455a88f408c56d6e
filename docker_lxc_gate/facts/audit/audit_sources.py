"""What a window is read from: the kernel's audit, its records as it sends them, and auditd's log.

Without auditd the kernel prints at most ten records in five seconds, and drops the others. It also
sends every record to a multicast group, which has no limit. Switching that off leaves a record.

auditd's log is read on from where the last look ended. A look first proves on the node that the
file still holds what was read last: its inode, and a checksum of the bytes in front of that place.
A log that was cut and grew again is noticed by that.

Sources: kernel/audit.c (kauditd_thread, kauditd_printk_skb), kernel/auditfilter.c,
include/uapi/linux/audit.h, auditd.conf(5) (max_log_file_action), proc(5) (fdinfo).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit.audit_records import AUDIT_LOG
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Transport, at_most

if TYPE_CHECKING:
    from docker_lxc_gate.machines.child import Hold

#: The prefix of each line of the notes that is not a record.
REMARK = "docker-lxc-gate: "
#: Marks the place in the notes where records were lost: too many at once, or no room left.
GAP = f"{REMARK}records were lost here"
#: The limit for the notes in /run, which is memory (bytes): some thirty thousand denials.
_ROOM = 8 << 20
_NOTE = program("docker_lxc_gate.facts", "audit_notes.pl")
STATE = program("docker_lxc_gate.facts", "audit_state.pl")
ASK = program("docker_lxc_gate.facts", "audit_state.sh")


@dataclass(frozen=True)
class AuditState:
    """The kernel's audit at one moment.

    Attributes:
        lost: number of records that the kernel lost since boot or since a reset of the count.
        reader: pid of the process that receives the records, usually auditd; 0 if none.
        name: its program; empty if the process does not exist.
        status: its state (``R``, ``S``, ``T`` …, proc(5)); empty if the process does not exist.
        started: its start time, in clock ticks since boot.
        inode: of auditd's log; empty if the log cannot be read.
        size: of auditd's log (bytes).
        rules: the rules that drop records, as ``auditctl -l`` prints them.
    """

    lost: int
    reader: int = 0
    name: str = ""
    status: str = ""
    started: str = ""
    inode: str = ""
    size: int = 0
    rules: tuple[str, ...] = ()

    @property
    def suspended(self) -> bool:
        """Whether the process that receives the records is stopped (SIGSTOP, or a debugger)."""
        return self.status in {"T", "t"}


class Records:
    """AppArmor's denials on a node, from construction until :meth:`close`.

    A program on the node writes them to a file, and deletes it at the end or when the connection
    drops.

    Args:
        node: the node.
        log: auditd's log; the program also notes if it shrinks.

    Raises:
        FactError: the node has no perl, or we may not read the records.
        TransportError: the node cannot be reached.
    """

    def __init__(self, node: Transport, log: str = "/var/log/audit/audit.log") -> None:
        self._node = node
        self._file = f"/run/docker-lxc-gate.{secrets.token_hex(8)}"
        try:
            argv = ["perl", "-MIO::Handle", "-e", _NOTE, self._file, log]
            self._notes: Hold = node.hold(argv, "noting")
        except CommandFailed as error:
            raise _untold(error.result) from error

    def text(self) -> str:
        """Return the notes: a line a denial, and REMARKs; raises FactError if the program ended."""
        with at_most(2 * _ROOM):
            noted = self._node.read(self._file)
        if noted is None or not self._notes.alive():
            raise FactError(
                f"on {self._node.machine} the program that reads the kernel's audit has ended"
            )
        return noted.decode(errors="replace")

    def close(self) -> None:
        """Stop the program, if it runs; it deletes its notes."""
        self._notes.release()


@foreign.parser()
def state(node: Transport, log: str = "/var/log/audit/audit.log") -> AuditState:
    """Return the state of a node's audit.

    Raises FactError if the node has neither perl nor auditctl, or the kernel did not answer;
    TransportError if the node cannot be reached.
    """
    told = node.look(["sh", "-c", ASK, "audit", log, STATE])
    if not told.ok:
        raise _untold(told)
    try:
        return _parsed(told.text)
    except ValueError as error:
        raise FactError(
            f"the status of the kernel's audit on {told.machine} cannot be read: {error}"
        ) from error


def _parsed(text: str) -> AuditState:
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    status, started, name = [*said.get("process", [""])[0].split(" ", 2), "", "", ""][:3]
    inode, size = [*said.get("log", [""])[0].split(), "", "0"][:2]
    return AuditState(
        lost=int(said.get("lost", ["no count of lost records"])[0]),
        reader=int(said.get("reader", ["0"])[0]),
        name=name,
        status=status,
        started=started,
        inode=inode,
        size=int(size),
        rules=tuple(said.get("rule", ())),
    )


def _untold(said: CommandResult) -> FactError:
    """Return the error without the command: a reader of the verdict need not read our program."""
    why = said.stderr.decode(errors="replace").strip()
    return FactError(f"the kernel's audit cannot be read on {said.machine}: {why}")


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

        No other record leaves the node, because some hold command lines. Raises FactError if a part
        of the log is gone, was changed or cannot be read, CommandFailed if the logs cannot be
        listed.
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
