"""Attempts to break out of a container: how each one ends, and who refuses it.

One program makes them as root of the node, which is their control, and as root of the container and
of Docker containers in it. ``programs/escapes.pl`` has the sources.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.printable import cut, one_line
from docker_lxc_gate.tables import Row, table

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.transport import Transport


class Attempt(Row, frozen=True):
    """One attempt; the head of ``escapes.toml`` explains the keys."""

    what: str
    harmless: str
    by: Literal["platform", "profile", "namespace", "nobody"]
    looks: bool = False
    record: str = ""


class _Known(Row, frozen=True):
    harmless: dict[str, str]
    attempt: dict[str, Attempt]


ATTEMPTS = table("docker_lxc_gate.facts", "escapes", _Known).attempt
#: The names of the attempts' processes, which stand in the records of denials.
_PROCESSES = {f"gate-{name}": name for name in ATTEMPTS}
_ESCAPES = program("docker_lxc_gate.facts", "escapes.pl")
_TARGETS = program("docker_lxc_gate.facts", "escape_targets.pl")
_TARGET = patterns.compile(r"(?m)^((?:node|neighbour|disk|key|profile)=[\w.:-]{1,300})$")
_OUTCOME = patterns.compile(r"([a-z0-9-]{1,20}) ([0-9]{1,3}) ([0-9]{1,3})")
#: The exit code of ``timeout`` if there is no such program.
_NOT_FOUND = 127
#: How an attempt ends if nothing refused it, if there is nothing to try it on, and at its alarm.
DONE, NOTHING, _LATE = "", "nothing there", f"signal {signal.SIGALRM:d}"
_ENDS = {**errno.errorcode, 0: DONE, 200: NOTHING}


def targets(node: Transport, init_pid: int) -> list[str]:
    """Return what there is on the node for the container with this first process to reach."""
    told = node.look(["perl", "-e", _TARGETS, "--", str(init_pid)]).require()
    return _TARGET.findall(told.text)


def command(
    kind: Literal["control", "attempt"], machine: str, names: Sequence[str], targets: Sequence[str]
) -> tuple[str, ...]:
    """Return the command that makes attempts on a ``machine`` of that name (``uname -m``)."""
    return ("perl", "-e", _ESCAPES, "--", kind, machine, ",".join(names), *targets)


def outcomes(answer: CommandResult, attempts: Sequence[str]) -> dict[str, str]:
    """Return how each of the attempts ended: :data:`DONE`, or the error or signal.

    Raises FactError if one is missing, or the answer is not readable.
    """
    where, why = answer.machine, cut(one_line(answer.stderr.decode(errors="replace").strip()), 300)
    if answer.exit_code == _NOT_FOUND:
        raise FactError(f"{where} has no perl to make attempts with: install perl-base: {why}")
    lines = [_OUTCOME.fullmatch(line) for line in answer.text.splitlines()]
    results = [line.groups() for line in lines if line]
    if not answer.ok or None in lines or [name for name, *_ in results] != [*attempts]:
        raise FactError(
            f"what was attempted on {where} cannot be read: exit code {answer.exit_code}, "
            f"{len(results)} of {len(attempts)} attempts: {why or repr(answer.text[-200:])}"
        )
    return {
        name: f"signal {number}" if int(number) else _ENDS.get(int(code), f"error {code}")
        for name, code, number in results
    }


def in_time(answer: CommandResult, attempts: Sequence[str]) -> dict[str, str]:
    """Return the outcomes; raises FactError also if an attempt ended by its alarm alone."""
    ends = outcomes(answer, attempts)
    if late := [name for name, end in ends.items() if end == _LATE]:
        raise FactError(f"on {answer.machine}, the attempt to {ATTEMPTS[late[0]].what} did not end")
    return ends


#: Errors by which an attempt is refused; another one is that of a full table or a broken program.
#: SIGKILL is that of a profile in kill mode, SIGSYS that of seccomp.
REFUSALS = frozenset(
    {DONE, NOTHING, "EPERM", "EACCES", "EROFS", "ENOENT", "ENXIO", "ENODEV", "ESRCH", "ENOSYS"}
    | {"EINVAL", "EOPNOTSUPP", "EAFNOSUPPORT", f"signal {signal.SIGKILL:d}"}
    | {f"signal {signal.SIGSYS:d}"}
)


#: Who refused what fails without AppArmor and seccomp, too.
_WITHOUT = {
    **dict.fromkeys(("EPERM", "EACCES"), "the user namespace"),
    **dict.fromkeys(("ENOENT", "ENXIO", "ENODEV"), "no such file or device there"),
    "ESRCH": "the pid namespace",
    "EROFS": "a read-only mount",
}


def refuser(without: str | None, recorded: str, silent: str) -> str:
    """Return who refused an attempt, as far as that is proved; empty: that is not known.

    ``without`` is how it ended without AppArmor and seccomp, if that was tried; ``recorded`` what
    is known of AppArmor's record of it, and ``silent`` who may refuse without a record.
    """
    if without:
        return _WITHOUT.get(without, f"the kernel ({without})")
    return recorded or ("" if without is None else silent)


def by_attempt(denials: Sequence[Denial]) -> Mapping[str, Denial]:
    """Return the first denial of each attempt, by the name of its process.

    A program of the guest can have the same name, and attempt the same.
    """
    named = ((denial.fields.get("comm", ""), denial) for denial in reversed(denials))
    return {_PROCESSES[name]: denial for name, denial in named if name in _PROCESSES}


def what_was_denied(denial: Denial) -> str:
    """Return the operation and its object."""
    return " ".join(filter(None, map(denial.fields.get, ("operation", "name", "family"))))


def caused_by_attempt(denial: Denial) -> bool:
    """Whether a denial is as one of the attempts causes it."""
    records = (ATTEMPTS[name].record for name in by_attempt([denial]))
    return any(patterns.fullmatch(record, what_was_denied(denial)) for record in records)
