"""The kernel's audit: its state, and its records as the kernel sends them.

Without auditd the kernel prints at most ten records in five seconds, and drops the others. It also
sends every record to a multicast group, which has no limit. Switching that off leaves a record.
Source: kernel/audit.c (kauditd_thread, kauditd_printk_skb), kernel/auditfilter.c,
include/uapi/linux/audit.h.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from docker_lxc_gate import foreign
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Hold, Transport, at_most

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
class State:
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
        """Return the notes: one line for each denial, and lines that begin with REMARK.

        Raises:
            FactError: the program on the node has ended.
        """
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
def state(node: Transport, log: str = "/var/log/audit/audit.log") -> State:
    """Return the state of a node's audit, in one round trip.

    Raises:
        FactError: the node has neither perl nor auditctl, or the kernel did not answer.
        TransportError: the node cannot be reached.
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


def _parsed(text: str) -> State:
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    status, started, name = [*said.get("process", [""])[0].split(" ", 2), "", "", ""][:3]
    inode, size = [*said.get("log", [""])[0].split(), "", "0"][:2]
    return State(
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
