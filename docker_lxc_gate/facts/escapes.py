"""Attempts to break out of a container: what is tried, what came of it, and who refused it.

One program makes them as root of the node (the control), of a container, and of a Docker container
in it. Source: lxc, src/lxc/attach.c (``--elevated-privileges=LSM`` applies neither the profile nor
the seccomp list; user namespace and capabilities stay); ``programs/escapes.pl`` has those of the
attempts.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.printable import cut, one_line
from docker_lxc_gate.tables import Row, table

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.result import CommandResult


class Attempt(Row, frozen=True):
    """One attempt; the head of ``escapes.toml`` explains the keys."""

    what: str
    harmless: str
    by: Literal["platform", "profile", "nobody"]
    looks: bool = False
    record: str = ""


class _Known(Row, frozen=True):
    harmless: dict[str, str]
    attempt: dict[str, Attempt]


_KNOWN = table("docker_lxc_gate.facts", "escapes", _Known)
ATTEMPTS = _KNOWN.attempt
#: Why each is harmless, by the word that the attempts have for it.
HARMLESS = _KNOWN.harmless
#: The process name of an attempt; it stands in the record of a denial.
_ATTEMPTING = "gate-"
_ESCAPES = program("docker_lxc_gate.facts", "escapes.pl")
_TARGETS = program("docker_lxc_gate.facts", "escape_targets.pl")
_TARGET = patterns.compile(r"(?m)^((?:node|neighbour|disk|key|profile)=[\w.:-]{1,100})$")
_OUTCOME = patterns.compile(r"([a-z0-9-]{1,20}) ([0-9]{1,3}) ([0-9]{1,3})")
#: The program's errno where there is nothing to try, and its exit code where it is not found.
_NOTHING, _NOT_FOUND = 200, 127
#: What an answer may have at most (bytes), and how long it may take (seconds).
LIMIT, PATIENCE = 1 << 14, 300.0


class Outcome(NamedTuple):
    """How an attempt ended: the errno, and the signal that ended it; both are 0 if it succeeded."""

    code: int
    signal: int

    @property
    def succeeded(self) -> bool:
        """Whether the attempt was let through."""
        return self == (0, 0)

    def __str__(self) -> str:
        """Return the error's or the signal's name."""
        if self.signal:
            return f"signal {self.signal}"
        return errno.errorcode.get(self.code, f"error {self.code}")


def targets(init_pid: int) -> Read[tuple[str, ...]]:
    """Read what the container with this first process could reach on the node, as words."""

    def parse(answer: CommandResult) -> tuple[str, ...]:
        return tuple(_TARGET.findall(answer.require().text))

    return Read(("perl", "-e", _TARGETS, "--", str(init_pid)), parse)


def command(machine: str, names: Iterable[str], targets: Sequence[str]) -> tuple[str, ...]:
    """Return the command that makes attempts on a machine of this kind (``uname -m``)."""
    return ("perl", "-e", _ESCAPES, "--", machine, ",".join(names), *targets)


def outcomes(answer: CommandResult, names: Sequence[str]) -> dict[str, Outcome]:
    """Return how each of the attempts ended; raises FactError if one is missing or not readable."""
    where, said = answer.machine, cut(one_line(answer.stderr.decode(errors="replace").strip()), 300)
    if answer.exit_code == _NOT_FOUND:
        raise FactError(
            f"{where} has no perl, by which the attempts are made: install it (perl-base): {said}"
        )
    matches = [_OUTCOME.fullmatch(line) for line in answer.text.splitlines()]
    found = {line[1]: Outcome(int(line[2]), int(line[3])) for line in matches if line}
    if not answer.ok or None in matches or [*found] != [*names] or len(matches) != len(found):
        raise FactError(
            f"what was attempted on {where} cannot be read: it ended with {answer.exit_code}, "
            f"{len(found)} of {len(names)} attempts: {said or cut(repr(answer.text[-200:]), 200)}"
        )
    late = [name for name, outcome in found.items() if outcome.signal == signal.SIGALRM]
    if late:
        raise FactError(f"on {where}, the attempt to {ATTEMPTS[late[0]].what} did not end in time")
    return found


def nothing_to_try(outcome: Outcome) -> bool:
    """Whether the node has nothing that the attempt could be made on."""
    return outcome.code == _NOTHING


#: Who refused, by the error of an attempt to which neither AppArmor nor seccomp was applied.
_WITHOUT = {
    **dict.fromkeys((errno.EPERM, errno.EACCES), "the user namespace"),
    **dict.fromkeys((errno.ENOENT, errno.ENXIO, errno.ENODEV), "no such file or device there"),
    errno.ESRCH: "the pid namespace",
    errno.EROFS: "a read-only mount",
}
_THE_KERNEL = "the kernel"
APPARMOR, SECCOMP = "AppArmor", "seccomp"


def refusers(
    found: Mapping[str, Outcome],
    without: Mapping[str, Outcome],
    denials: Mapping[str, Denial],
    *,
    all_recorded: bool,
) -> dict[str, str]:
    """Return who refused each attempt that failed in a container, as far as that is proved.

    Args:
        found: how the attempts ended.
        without: how they ended without AppArmor and seccomp; empty if that was not tried.
        denials: the record of each attempt that left one.
        all_recorded: whether AppArmor records all that it refuses.
    """
    who = {}
    for name, outcome in found.items():
        if outcome.succeeded:
            continue
        if name in without and not without[name].succeeded:
            who[name] = _WITHOUT.get(without[name].code, _THE_KERNEL)
        elif name in denials:
            who[name] = APPARMOR
        elif name in without:
            who[name] = SECCOMP if all_recorded else f"{APPARMOR} or {SECCOMP}"
        else:
            who[name] = f"{outcome}"
    return who


def attempt_of(denial: Denial) -> str:
    """Return the attempt whose process a denial names; empty: none.

    A program of the guest can have the same name, and attempt the same.
    """
    name = denial.fields.get("comm", "")
    name = name.removeprefix(_ATTEMPTING) if name.startswith(_ATTEMPTING) else ""
    return name if name in ATTEMPTS else ""


def caused_by_attempt(denial: Denial) -> bool:
    """Whether a denial is as one of the attempts causes it."""
    name, fields = attempt_of(denial), denial.fields
    done = f"{fields.get('operation', '')} {fields.get('name') or fields.get('family', '')}"
    return bool(name and patterns.fullmatch(ATTEMPTS[name].record or r"\z", done))
