"""Free space for a node's log. Sources: df(1), auditd.conf(5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.errors import FactError

if TYPE_CHECKING:
    from docker_lxc_gate.machines.transport import Transport

_MIB = 1 << 20
#: Space for the records of a container's start, at the least (bytes).
LEAST_ROOM = 64 * _MIB
_LOG_ROOM = """
df -B1 --output=avail,size,target -- "$1" | tail -n 1
sed -nE 's/^space_left *= *([0-9]+%?).*/\\1/p' /etc/audit/auditd.conf 2>/dev/null || true
"""
#: The log of each source, and its directory.
_LOGS = {
    "auditd": ("auditd's log", "/var/log/audit"),
    "kernel": ("the kernel's records of a window", "/run"),
}


@dataclass(frozen=True)
class Room:
    """The file system of a log: its ``free`` bytes, and the bytes ``needed``.

    ``log`` is the log's name for a message.
    """

    log: str
    place: str
    free: int
    needed: int


@foreign.parser(..., "auditd")
def log_room(node: Transport, source: str) -> Room:
    """Return the free space for records; at ``space_left`` auditd may stop writing.

    Args:
        node: the node.
        source: ``auditd`` or ``kernel``, as
            :class:`docker_lxc_gate.facts.audit.audit_window.Window` finds it.

    Raises:
        FactError: the answer cannot be read.
    """
    log, where = _LOGS[source]
    answer = node.look(["sh", "-c", _LOG_ROOM, "room", where]).require().text
    table = patterns.match(r"\s*([0-9]+)\s+([0-9]+)\s+(/.*)\n(?:([0-9]+)(%?)\n)?", answer)
    if table is None:
        raise FactError(f"on {node.machine}: the free space for {log} cannot be read: {answer!r}")
    free, size, place, left, percent = table.groups()
    needed = LEAST_ROOM
    if left and source == "auditd":
        own = int(size) * int(left) // 100 if percent else int(left) * _MIB
        needed = max(needed, own)
    return Room(log, place, int(free), needed)
