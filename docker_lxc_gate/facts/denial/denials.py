"""Attribution of denials to the node's containers.

Several containers may share a named profile, so its name alone does not tell.
Source: cgroups(7), and LXC's names of cgroups and generated profiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.machines.transport import at_most

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.facts.process_tree import ProcessNotes
    from docker_lxc_gate.machines.transport import Transport

#: A line of a process's cgroups, and the container's name in it.
_CGROUP = patterns.compile(r"(?m)^/proc/([0-9]{1,10})/cgroup:(.*)$")
_CONTAINER = patterns.compile(r"/lxc(?:\.payload\.|/)([^/\s]{1,200})")
#: Prints the cgroups of the processes on standard input; a command line might be too short.
_CGROUPS = "sed 's|.*|/proc/&/cgroup|' | xargs -r grep -as '' /dev/null || :"
_LONGEST_PID = 10
#: Limit for the cgroups of all processes (bytes): some two hundred each.
_LONGEST = 16 << 20


def attribute(denials: Sequence[Denial], notes: ProcessNotes) -> list[int | str | None]:
    """Return the container of each denial, or None if it is not known.

    A generated profile names its container. For a named profile, the notes on the process decide.
    A process that they saw in no container may be the node's: each user of the node may start one
    under a container's profile. If the notes lack a process, they decide nothing: its pid may have
    passed from one container to another.
    """
    owners: list[int | str | None] = []
    for denial in denials:
        owner = named_container(denial)
        if owner is None and not notes.lost:
            known = notes.containers.get(number(denial.fields.get("pid", "")), frozenset())
            owner = next(iter(known)) if len(known) == 1 else None
        owners.append(number(owner or "") or owner)
    return owners


def running_under(node: Transport, profile: str) -> frozenset[str]:
    """Return the names of the containers that have a process under a profile."""
    living = _living(node, apparmor.processes_under(node, profile))
    found = map(_CONTAINER.search, living.values())
    return frozenset(each[1] for each in found if each)


def _living(node: Transport, pids: Iterable[int]) -> dict[int, str]:
    """Return the cgroups of the processes that are still alive."""
    asked = "".join(f"{pid}\n" for pid in sorted(set(pids)))
    if not asked:
        return {}
    with at_most(_LONGEST):
        told = node.look(["sh", "-c", _CGROUPS], stdin=asked.encode()).require().text
    lines: dict[int, list[str]] = {}
    for pid, line in _CGROUP.findall(told):
        lines.setdefault(int(pid), []).append(line)
    return {pid: "\n".join(found) for pid, found in lines.items()}


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
    the node names the outermost namespace.
    """
    text = denial.fields.get("namespace") or denial.profile
    found = patterns.search(r"\blxc-([^\s/<>]{1,200})_<", text)
    return found[1] if found else None


def number(text: str) -> int:
    """Return the value of ASCII digits, or 0 for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_PID else 0
