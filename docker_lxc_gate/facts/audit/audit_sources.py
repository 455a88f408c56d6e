"""The kernel's audit: its state, and its records as it sends them.

Without auditd the kernel prints at most ten records in five seconds, and drops the others. It also
sends every record to a multicast group, which has no limit. Switching that off leaves a record.

Sources: kernel/audit.c (kauditd_thread, kauditd_printk_skb), kernel/auditfilter.c,
include/uapi/linux/audit.h.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Transport

if TYPE_CHECKING:
    from docker_lxc_gate.machines.child import Hold

#: The prefix of each line of the notes that is not a record.
REMARK = "docker-lxc-gate: "
#: Marks the place in the notes where records were lost: too many at once, or no room left.
GAP = f"{REMARK}records were lost here"
#: The limit for the notes in /run, which is memory (bytes): some thirty thousand denials.
_ROOM = 8 << 20
AUDIT = program("docker_lxc_gate.facts", "audit.pl")


@dataclass(frozen=True)
class AuditState:
    """The kernel's audit at one moment.

    Attributes:
        lost: number of records that the kernel lost since boot or since a reset of the count.
        reader: pid of the process that receives the records, usually auditd; 0 if none.
        name: its program; empty if the process does not exist.
        status: its state (``R``, ``S``, ``T`` …, proc(5)); empty if the process does not exist.
        rules: the rules that drop records, as ``auditctl -l`` prints them.
    """

    lost: int
    reader: int = 0
    name: str = ""
    status: str = ""
    rules: tuple[str, ...] = ()


class Records:
    """AppArmor's denials on a node, from construction until :meth:`close`.

    A program on the node writes them to a file, and deletes it at the end or when the connection
    drops.

    Raises:
        FactError: the node has no perl, or we may not read the records.
        TransportError: the node cannot be reached.
    """

    def __init__(self, node: Transport) -> None:
        self._node = node
        self._file = f"/run/docker-lxc-gate.{secrets.token_hex(8)}"
        try:
            argv = ["perl", "-MIO::Handle", "-e", AUDIT, "notes", self._file]
            self._notes: Hold = node.hold(argv, "noting")
        except CommandFailed as error:
            raise _unreadable(error.result) from error

    def text(self) -> str:
        """Return the notes: a line a denial, and REMARKs; raises FactError if the program ended."""
        noted = self._node.read(self._file, limit=2 * _ROOM)
        if noted is None or not self._notes.alive():
            raise FactError(
                f"on {self._node.machine} the program that reads the kernel's audit has ended"
            )
        return noted.decode(errors="replace")

    def close(self) -> None:
        """Stop the program, if it runs; it deletes its notes."""
        self._notes.release()


def state(node: Transport) -> AuditState:
    """Return the state of a node's audit.

    Raises FactError if the node has no perl, or the kernel did not answer; TransportError if the
    node cannot be reached.
    """
    answer = node.look(["perl", "-e", AUDIT, "state"])
    if not answer.ok:
        raise _unreadable(answer)
    pairs = [line.partition(" ")[::2] for line in answer.text.splitlines()]
    fields, rules = dict(pairs), tuple(rule for key, rule in pairs if key == "rule")
    status, _, name = fields.get("process", "").partition(" ")
    try:
        return AuditState(int(fields["lost"]), int(fields["reader"]), name, status, rules)
    except (KeyError, ValueError) as error:
        raise FactError(
            f"the status of the kernel's audit on {answer.machine} cannot be read: "
            f"{answer.text!r:.200}"
        ) from error


def _unreadable(answer: CommandResult) -> FactError:
    """Return the error without the command: a reader of the verdict need not read our program."""
    why = answer.stderr.decode(errors="replace").strip()
    return FactError(f"the kernel's audit cannot be read on {answer.machine}: {why}")
