"""A node's denials, from where this node keeps them, and whose they are as far as that can be told.

Several containers may share a named profile, so its name alone does not tell. One round trip, in
which nothing is changed: which process takes the kernel's records decides where they are (as
:mod:`docker_lxc_gate.facts.audit.audit_window` does), and what the node knows of its processes says
of which container the denied one was. Sources: auditd(8), journalctl(1), proc(5), cgroups(7), and
LXC's names of cgroups and generated profiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_sources
from docker_lxc_gate.facts.audit.audit_records import AUDIT_LOG, Denial, serial
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Transport

if TYPE_CHECKING:
    from docker_lxc_gate.facts.process_tree import ProcessNotes

_UNDER = program("docker_lxc_gate.facts", "cgroups_under.sh")
_LONGEST_PID = 10
#: LXC adds a number to a cgroup's name if a former one of that name is still there.
_ANOTHER_CGROUP = r"^([0-9]{1,10})-[0-9]{1,4}$"
#: Limit for the cgroups of all processes (bytes): some two hundred each.
_ALL_CGROUPS = 16 << 20


def attribute(denials: Sequence[Denial], notes: ProcessNotes) -> list[int | str | None]:
    """Return the container of each denial, or None if it is not known.

    The notes on the process decide. A generated profile names its container, too, and must agree:
    each user of the node may start a process under a container's profile. Without notes on all
    processes the name alone counts, since a pid may have passed from one container to another.
    """
    owners: list[int | str | None] = []
    for denial in denials:
        owner = named_container(denial)
        if not notes.lost:
            noted = notes.containers.get(number(denial.fields.get("pid", "")), frozenset())
            known = {patterns.sub(_ANOTHER_CGROUP, lambda match: match[1], name) for name in noted}
            if owner is None and len(known) == 1:
                owner = next(iter(known))
            elif owner not in known:
                owner = None
        owners.append(number(owner or "") or owner)
    return owners


def running_under(node: Transport, profile: str) -> frozenset[str]:
    """Return the names of the containers that have a process under a profile."""
    argv = ["sh", "-c", _UNDER, "cgroups", patterns.escape(profile)]
    told = node.look(argv, limit=_ALL_CGROUPS).require().text
    return frozenset(name for _, name in _CGROUP.findall(told))


@dataclass(frozen=True)
class Owner:
    """The container that a denial is of, and how that is known, for a reader."""

    container: int | str
    by: str

    @classmethod
    def named(cls, name: str, by: str) -> Owner:
        """Return the container of a name: a number, unless LXC's own tools made it."""
        return cls(number(name) or name, by)


def owner_by_name(denial: Denial) -> Owner | None:
    """Return the container that a record names by itself; None: it names none.

    A named profile says nothing: any number of containers may have it.
    """
    name = named_container(denial)
    if name is None:
        return None
    by = "policy namespace" if denial.fields.get("namespace") else "generated profile"
    return Owner.named(name, by)


def named_container(denial: Denial) -> str | None:
    """Return the container of a generated profile, or of the namespace that LXC made for it.

    Inside its namespace a container may give its profiles any name, even another container's. Only
    the node names the outermost namespace. A stack begins with the node's own profiles.
    """
    text = denial.fields.get("namespace") or denial.profile
    match = patterns.search(r"\blxc-([^\s/<>]{1,200})_<", text)
    return match[1] if match else None


def number(text: str) -> int:
    """Return the value of ASCII digits, or 0 for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_PID else 0


#: What is read of a log (bytes), and of everything together.
_LOG, _LONGEST = 48 << 20, 64 << 20
#: A log of gigabytes is read through (seconds).
_PATIENCE = 600.0
_READ = program("docker_lxc_gate.facts", "node_denials.sh")
_CGROUP = patterns.compile(
    r"(?m)^/proc/([0-9]{1,10})/cgroup:[0-9]+:[^:\n]*:/lxc(?:\.payload\.|/)([^/\s]{1,200})"
)
_LABEL = patterns.compile(r"(?m)^/proc/([0-9]{1,10})/attr/apparmor/current:(\S{1,400})")
_CONFIGURED = patterns.compile(
    r"(?m)^/(?:etc/pve/lxc/([0-9]{1,10})\.conf|var/lib/lxc/([^/\s]{1,200})/config):"
    r"[^:=]{1,80}[:=]\s*(\S{1,400})",
)
#: A process's number and, seventeen fields behind its parent's, when it was started. Its name may
#: have line feeds, and look like another's line, but has no room for so many fields.
_STAT = patterns.compile(
    r"(?m)^/proc/([0-9]{1,10})/stat:.*\) \S [0-9]{1,10} (?:\S+ ){17}([0-9]{1,18}) "
)
_PARENT = patterns.compile(r"parent ([0-9.]{1,40}:[0-9]{1,20}) ([0-9]{1,10})")
_PRINTED = (
    "without auditd the kernel prints at most ten records in five seconds, and up to three of "
    "one denial, so there may have been others"
)
#: How far the clock of the records and that of the processes may be apart (seconds).
_APART = 1.0


@dataclass(frozen=True)
class NodesLog:
    """What a node has recorded, and what it knows of its processes now.

    Attributes:
        source: ``auditd`` or ``kernel``: where its records are.
        lines: those that hold a denial.
        note: why there may have been others that nobody recorded.
        unread: why there may be others in the log; empty if it was read to its end.
        started: when each process was started (Unix time).
        homes: the container that a process is of, by its cgroup.
        users: the containers that have a profile: by the label of a process, or by a configuration.
        parents: the parent of a process that was denied something, by the record's number.
    """

    source: str
    lines: tuple[bytes, ...]
    note: str = ""
    unread: str = ""
    started: Mapping[int, float] = field(default_factory=dict)
    homes: Mapping[int, str] = field(default_factory=dict)
    users: Mapping[str, frozenset[str]] = field(default_factory=dict)
    parents: Mapping[str, int] = field(default_factory=dict)

    def owner(self, denial: Denial, at: float | None) -> Owner | None:
        """Return whose a denial of this log is; None if nobody can say.

        ``at`` is its time. A process that was started since then is another one.
        """
        if named := owner_by_name(denial):
            return named
        pid = number(denial.fields.get("pid", ""))
        if self._was(pid, at):
            # What lives in no container's cgroup may have entered one from outside: not told.
            return Owner.named(self.homes[pid], "process's cgroup") if pid in self.homes else None
        parent = self.parents.get(serial(denial), 0)
        if self._was(parent, at) and parent in self.homes:
            return Owner.named(self.homes[parent], "parent process's cgroup")
        if denial.fields.get("namespace"):  # whoever made it names profiles there as they like
            return None
        users = self.users.get(denial.profile, frozenset())
        if len(users) == 1 and denial.profile.startswith("lxc-"):
            return Owner.named(next(iter(users)), "profile, which no other container here has now")
        return None

    def _was(self, pid: int, at: float | None) -> bool:
        """Whether a process lives that was there already."""
        return at is not None and pid in self.started and self.started[pid] <= at + _APART


def read(node: Transport, since: float | None = None) -> NodesLog:
    """Return a node's denials, in one round trip.

    Of the journal nothing older than ``since`` (Unix time) is read. Raises FactError if the answer
    cannot be read, TransportError if the node cannot be reached.
    """
    when = "" if since is None else f"{int(since)}"
    asked = [audit_sources.AUDIT, AUDIT_LOG, when, f"{_LOG}"]
    told = node.look(["sh", "-c", _READ, "denials", *asked], timeout=_PATIENCE, limit=_LONGEST)
    parts = _parts_of(told.stdout)
    if "end" not in parts:
        why = told.stderr.decode(errors="replace").strip() or f"exit code {told.exit_code}"
        raise FactError(f"the denials of {told.machine} cannot be read: {why}")
    return _parsed(parts, told.stderr.decode(errors="replace").strip())


def _parts_of(text: bytes) -> dict[str, bytes]:
    """Return what stands below each heading; a line of the log begins otherwise."""
    _, *pieces = patterns.split(rb"(?m)^== ([a-z]+)$\n?", text)
    return {name.decode(): below for name, below in zip(pieces[::2], pieces[1::2], strict=True)}


def _parsed(parts: Mapping[str, bytes], stderr: str) -> NodesLog:
    """Return what a node answered: what stands below each heading, and what it complained of."""

    def text(name: str) -> str:
        return parts.get(name, b"").decode(errors="replace")

    source = "auditd" if "auditd" in parts else "kernel"
    homes = {int(pid): name for pid, name in _CGROUP.findall(text("cgroups"))}
    users: dict[str, set[str]] = {}
    for pid, label in _LABEL.findall(text("labels")):
        if int(pid) in homes:
            users.setdefault(label, set()).add(homes[int(pid)])
    for ctid, name, profile in _CONFIGURED.findall(text("configurations")):
        users.setdefault(profile, set()).add(ctid or name)
    clock = [int(word) for word in patterns.findall(r"(?m)\b[0-9]{1,10}$", text("clock"))]
    boot, ticks = clock if len(clock) == 2 and clock[1] else (0, 0)  # noqa: PLR2004
    started = {
        int(pid): boot + int(since) / ticks
        for pid, since in _STAT.findall(text("processes"))
        if ticks
    }
    return NodesLog(
        source,
        tuple(line for line in parts.get(source, b"").split(b"\n") if b'apparmor="' in line),
        _PRINTED if source == "kernel" else "",
        stderr.partition("\n")[0] or _unread(parts, source, text("state")),
        started,
        homes,
        {profile: frozenset(names) for profile, names in users.items()},
        {event: int(pid) for event, pid in _PARENT.findall(text(source))},
    )


def _unread(parts: Mapping[str, bytes], source: str, state: str) -> str:
    """Return why there may be denials that were not read."""
    if "unread" in parts:
        return "nobody says who takes the kernel's records, so where they are is not known"
    reader = patterns.search(r"(?m)^reader ([1-9][0-9]{0,9})$", state)
    if source == "kernel" and reader:
        return (
            f"process {reader[1]} takes the kernel's records and is not auditd, so where it keeps "
            "them is not known"
        )
    if len(parts.get(source, b"")) >= _LOG:
        return f"there are more than {_LOG >> 20} MiB of them: only the newest were read"
    return ""
