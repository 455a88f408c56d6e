"""What the doctor asks the node, about itself and about a container, as reads.

No read asks the container's own programs. Sources: user_namespaces(7), proc_pid_mountinfo(5),
lxc-info(1), kernel Documentation/admin-guide/LSM/apparmor.
"""

from __future__ import annotations

from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor.case import script, told
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import mount_table
from docker_lxc_gate.formats.id_map import Range, parse
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult

#: The program that finds the container's first process.
_PID = "container_pid"
_NUMBER = "[0-9]{1,10}"
_PARTS = patterns.compile(r"(?s)(.*)\n== profile\n(.*)\n== base\n(.*)\n== end\n")
_OWNER = patterns.compile(rf"({_NUMBER}) ({_NUMBER})\n")


@dataclass(frozen=True)
class IdMaps:
    """A container's map of ids, as its first process has it."""

    users: tuple[Range, ...]
    groups: tuple[Range, ...]


@dataclass(frozen=True)
class Confined:
    """A container's label with its mode, its profile's text, and LXC's base abstraction."""

    label: str
    profile: str
    base: str

    @property
    def name(self) -> str:
        """The label without its mode."""
        return patterns.sub(r" \(\w+\)$", "", self.label)

    @property
    def is_generated(self) -> bool:
        """Whether LXC generated the profile for this container."""
        return bool(patterns.match(r"lxc-[^/]*_</", self.name))

    @property
    def confines_nothing(self) -> bool:
        """Whether there is no profile, so that AppArmor refuses nothing."""
        return self.name == "unconfined"


def _maps(result: CommandResult) -> IdMaps:
    users, _, groups = told(result).text.partition("==\n")
    what = f"an id map on {result.machine}"
    maps = IdMaps(parse(users, what), parse(groups, what))
    if not (maps.users and maps.groups):
        raise FactError(f"{what} cannot be read: {users[:80]!r}")
    return maps


def _confined(result: CommandResult) -> Confined:
    match = _PARTS.fullmatch(told(result).text)
    if match is None:
        raise FactError(f"the container's label cannot be read on {result.machine}")
    return Confined(*(part.strip() for part in match.groups()))


def _versions(result: CommandResult) -> dict[str, str]:
    lines = (line.partition(" ") for line in told(result).text.splitlines())
    return {name: version.strip()[:80] for name, _, version in lines}


def _mounts(result: CommandResult) -> tuple[mount_table.Mount, ...]:
    return mount_table.parse(told(result).text, f"the container's mounts on {result.machine}")


def _owner(result: CommandResult) -> tuple[int, int]:
    match = _OWNER.fullmatch(told(result).text)
    if match is None:
        raise FactError(f"an owner cannot be read on {result.machine}: {result.text[:80]!r}")
    return int(match[1]), int(match[2])


def id_maps(ctid: int) -> Read[IdMaps]:
    """Read the container's map of user and group ids."""
    return Read(script("id_maps", str(ctid), begins=_PID), _maps)


def confined(ctid: int) -> Read[Confined]:
    """Read what confines the container's first process."""
    return Read(script("confined", str(ctid), begins=_PID), _confined)


def mounts(ctid: int) -> Read[tuple[mount_table.Mount, ...]]:
    """Read the container's mounts, as its first process has them."""
    return Read(script("mounts", str(ctid), begins=_PID), _mounts)


def owner(path: str) -> Read[tuple[int, int]]:
    """Read which user and group own a path of the node; the path is the node's, never a guest's."""
    return Read(("env", "LC_ALL=C", "stat", "-L", "-c", "%u %g", "--", path), _owner)


#: By name: the kernel's version, LXC's, ZFS's, and those of Proxmox's packages.
VERSIONS = Read(script("versions"), _versions)
#: The names of the kernel's modules that are there.
MODULES = Read(
    script("modules"),
    lambda result: frozenset(name.replace("-", "_") for name in told(result).text.split()),
)
