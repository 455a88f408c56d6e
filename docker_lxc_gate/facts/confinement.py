"""The confinement of a container's processes: by label, by attempt, and by the profile's text.

Sources: apparmor.d(5); kernel ``security/apparmor/{lsm,procattr,domain}.c``; cgroups(7).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import escapes
from docker_lxc_gate.formats.apparmor_profile import opened, statements
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.runtime import guest_root
from docker_lxc_gate.tables import Row, table

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport

_THREADS = program("docker_lxc_gate.facts", "threads.pl")
_ID_MAPS = program("docker_lxc_gate.facts", "id_maps.pl")
_CHANGED = program("docker_lxc_gate.facts", "filter_files.sh")
_LINE = patterns.compile(r"(?m)^/proc/([0-9]+)/(comm|attr)[^:]*:(.*)$")
_SECCOMP = patterns.compile(r"(?m)^/proc/([0-9]+)/status:Seccomp:\t([0-9]+)$")
_ALIVE = patterns.compile(r"(?m)^alive ([0-9]+)$")
#: The seccomp mode of a thread with a filter. Source: linux/seccomp.h.
_FILTER = "2"


class _Known(Row, frozen=True):
    modes: dict[str, str]
    attempts: dict[str, str]
    records: dict[str, dict[str, str]]
    widening: tuple[str, ...]


_KNOWN = table("docker_lxc_gate.facts", "confinement", _Known)


@dataclass(frozen=True)
class Process:
    """One thread: its id on the node, name, label with the mode, and if seccomp filters it."""

    pid: int
    name: str
    label: str
    filtered: bool = True

    def defect(self, profile: str, modes: Mapping[str, str]) -> str:
        """Return why it is not confined; empty if it is. Who enters by nsenter has no filter."""
        no_filter = "" if self.filtered else "without a seccomp filter"
        return label_defect(self.label, profile, modes) or no_filter


def processes(node: Transport, init_pid: int) -> tuple[Process, ...]:
    """Return every thread of a container, ordered by id, in one look.

    Its first process is ``init_pid`` on the node. Raises FactError if that is not among them, or a
    label or seccomp mode is missing.
    """
    told = node.look(["perl", "-e", _THREADS, "--", str(init_pid)])
    names: dict[int, str] = {}
    labels: dict[int, str] = {}
    for pid, kind, value in _LINE.findall(told.text):
        of_kind = names if kind == "comm" else labels
        of_kind.setdefault(int(pid), value)
    modes = {int(pid): mode for pid, mode in _SECCOMP.findall(told.text)}
    read = labels.keys() & modes.keys()
    unread = sorted({int(pid) for pid in _ALIVE.findall(told.text)} - read)
    if init_pid not in read or unread:
        what = f"those of process {unread[0]}" if unread else f"process {init_pid}"
        why = told.stderr.decode(errors="replace").strip() or "the node gave no reason"
        raise FactError(
            f"the labels and seccomp modes of the container's processes were read from their "
            f"cgroup on {node.machine}, but {what} could not be read: {why}"
        )
    return tuple(
        Process(pid, names.get(pid, "?"), labels[pid], modes[pid] == _FILTER)
        for pid in sorted(read)
    )


def id_maps(init_pid: int | str) -> Read[tuple[str, str]]:
    """Read a container's maps of user and group ids, as the node's kernel says.

    Raises FactError if its first process is in a user namespace of its own.
    """

    def parse(answer: CommandResult) -> tuple[str, str]:
        if not answer.ok:
            raise FactError(
                f"the id map of the container is not known on {answer.machine}: "
                f"{answer.stderr.decode(errors='replace').strip()}"
            )
        users, _, groups = answer.text.partition("==\n")
        return users, groups

    return Read(("perl", "-e", _ID_MAPS, "--", str(init_pid)), parse)


def filter_changed(runtime: Runtime, ctid: int) -> Read[str]:
    """Read which file of the container's seccomp filter changed since its start; empty if none."""

    def parse(answer: CommandResult) -> str:
        if not answer.ok:
            raise FactError(
                f"whether the seccomp list of container {ctid} changed since its start is not "
                f"known: {answer.stderr!r:.500}"
            )
        return answer.text.partition("\n")[0]

    asks = runtime.first_process(ctid).argv
    return Read(("sh", "-c", _CHANGED, "changed", runtime.started_path(ctid), *asks), parse)


def label_defect(label: str, profile: str, modes: Mapping[str, str]) -> str:
    """Return why a label does not confine a container's process; empty if it does.

    Each profile of a stack confines, so one of them must be the container's. A child profile is
    wrong, because the shipped profile has none. Without a ``profile`` any will do, but for those
    called ``unconfined``, of whichever namespace. ``modes`` has the mode of each loaded profile of
    the node: a stack's own may be that of another one of it.
    """
    match = patterns.fullmatch(r"(?s)(.*?)(?: \((\w+|-)\))?", label)
    name, mode = match.groups() if match else (label, None)
    stack = name.split("//&")
    # The kernel names a namespace before the first profile of it alone. Whoever is root in there
    # names them as he likes, so all from that one on say nothing of the node's.
    parts = [*takewhile(lambda part: not part.startswith(":"), stack)]
    confined = any(part.rpartition(":")[2] != "unconfined" for part in parts)
    if profile in parts or (not profile and confined):
        if len(stack) > 1 and mode in {"mixed", None}:
            own = [modes.get(part) for part in parts if part == profile or not profile]
            mode = "enforce" if "enforce" in own else own[0]
        return "" if mode == "enforce" else mode_meaning(mode or "unknown")
    if name == "unconfined" or not (profile or confined):
        return "unconfined"
    if any(part.startswith(f"{profile}//") for part in parts):
        return f"under '{label}', a child that the plan's profile does not have"
    return f"under '{label}', which is another profile"


def mode_meaning(mode: str) -> str:
    """Return the meaning of a mode other than enforce, for a message."""
    return _KNOWN.modes.get(
        mode, f"in {mode} mode, which is not known here; the plan's profile enforces"
    )


#: The process name of the attempts; it stands in the records of their denials.
ATTEMPTING = "gate-attempt"
ATTEMPTS = _KNOWN.attempts
_ATTEMPT = program("docker_lxc_gate.facts", "attempts.pl")
#: How an attempt ends that AppArmor refused, also by a profile in kill mode.
_REFUSED = frozenset({"EACCES", f"signal {signal.SIGKILL:d}"})


def attempts(runtime: Runtime, ctid: int) -> dict[str, bool]:
    """Return whether each of :data:`ATTEMPTS` succeeds, by trying it as the container's root.

    What cannot be tried because the node has no firmware is left out.

    Raises FactError if one could not be made, TransportError if the container does not run.
    """
    what = "cannot attempt operations that AppArmor must refuse"
    told = guest_root.run(runtime.node, runtime.init_pid(ctid), _ATTEMPT, what=what)
    ends = escapes.outcomes(told, sorted(ATTEMPTS))
    known = {name: end for name, end in ends.items() if end in {escapes.DONE, *_REFUSED}}
    unknown = [name for name in ends if ends[name] != escapes.NOTHING and name not in known]
    if unknown and escapes.DONE not in known.values():
        raise FactError(
            f"container {ctid} could not {ATTEMPTS[unknown[0]]}, but not because AppArmor "
            f"refused it ({ends[unknown[0]]}), so whether AppArmor would is not known"
        )
    return {what: known[name] == escapes.DONE for name, what in ATTEMPTS.items() if name in known}


def caused_by_attempt(denial: Denial) -> bool:
    """Whether a denial is as an attempt of :func:`attempts`, or to break out, causes it.

    A program of the guest can have the same name, and attempt the same.
    """
    if escapes.caused_by_attempt(denial):
        return True
    fields = denial.fields
    record = _KNOWN.records.get(fields.get("operation", ""), {})
    is_own = bool(record) and fields.get("comm") == ATTEMPTING
    return is_own and all(patterns.fullmatch(record[key], fields.get(key, "")) for key in record)


_WIDENING = patterns.compile(
    r"\s*(?:(?:audit|allow|priority\s*=\s*-?[0-9]+)\s+)*(?:" + "|".join(_KNOWN.widening) + ")"
)
#: The longest rule that is read (characters).
_LONGEST_RULE = 4000
_WIDE_FLAGS = frozenset({"unconfined", "complain", "default_allow", "prompt"})


def widening_rules(deployed: str, local: str, profile: str, *, shipped: str) -> tuple[str, ...]:
    """Return the rules that widen the shipped profile, each with its file.

    ``deployed`` is the text of the profile on the node, ``local`` that of the site's additions.
    """
    ours, here = ({str(rule): rule for rule in statements(text)} for text in (shipped, deployed))
    path = f"/etc/apparmor.d/{profile}"
    added = [rule[:_LONGEST_RULE] for rule in here if rule not in ours]
    rules = [f"{path}: {rule}" for rule in added if _WIDENING.match(rule)]
    headers = [header for statement in statements(deployed) if (header := opened(statement))]
    flags = {flag for header in headers for flag in header.flags}
    rules += [f"{path}: flags=({flag})" for flag in sorted(flags & _WIDE_FLAGS)]
    lost = [text for text, rule in ours.items() if rule.denies and text not in here]
    rules += [f"{path} lacks: {rule}" for rule in lost if deployed.strip()]
    rules += [f"/etc/apparmor.d/local/{profile}: {rule}" for rule in statements(local)]
    return tuple(rules)
