"""The container of each process on a node, noted while the gate watches the log.

A denial names a process that may be gone when the log is read, perhaps with its whole container.
Several containers may share its profile, and a user of the node may start a process under it. So a
program on the node notes, while the process lives, its cgroup, inherited from its parent. Source:
the kernel's process events, include/uapi/linux/cn_proc.h and connector.h; cgroups(7).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import one_line

if TYPE_CHECKING:
    from docker_lxc_gate.machines.child import Hold

_NOTE = program("docker_lxc_gate.facts", "process_notes.pl")
#: Limit for the notes (bytes): a process takes some ten.
_LONGEST = 16 << 20
_TAKE = 'cat -- "$1" && rm -- "$1"'


@dataclass(frozen=True)
class ProcessNotes:
    """Notes on the processes of a node.

    ``lost`` says why some are not noted, for a reader; empty if every one is. ``containers`` are
    those of each pid; several, if the kernel reused it. ``?`` is one of its processes that was seen
    in none.
    """

    lost: str = "the program that notes the node's processes did not run to its end"
    containers: Mapping[int, frozenset[str]] = field(default_factory=dict)


def parse(text: str) -> ProcessNotes:
    """Parse the notes of the program on the node; raises FactError if they cannot be read."""
    containers: dict[int, set[str]] = {}
    lost = ProcessNotes.lost
    for line in text.splitlines():
        match line.split(" "):
            case ["whole"]:
                lost = ""
            case ["lost", *why]:
                lost = one_line(" ".join(why))
            case ["process", pid, name]:
                try:
                    containers.setdefault(int(pid), set()).add(name)
                except ValueError as error:
                    message = f"the notes of the node's processes cannot be read: {error}"
                    raise FactError(message) from error
    return ProcessNotes(lost, {pid: frozenset(names) for pid, names in containers.items()})


class ProcessWatch:
    """Notes the container of each process on a node, from construction until :meth:`notes`.

    On a node without perl the notes are empty.
    """

    def __init__(self, node: Transport) -> None:
        self._node = node
        self._file = f"/run/docker-lxc-gate.{secrets.token_hex(8)}"
        self._program: Hold | None = None
        self._notes = ProcessNotes()
        try:
            self._program = node.hold(["perl", "-e", _NOTE, self._file], "noting")
        except RemediationError:
            return

    def notes(self) -> ProcessNotes:
        """Stop the program, and return its notes."""
        if self._program is not None:
            self._program.release()
            self._program = None
            noted = self._node.run(["sh", "-c", _TAKE, "take", self._file], limit=_LONGEST)
            self._notes = parse(noted.text)
        return self._notes
