"""Bind mounts that nobody owns: the node's id has no counterpart in the container.

Only bind mounts of the container's configuration: Proxmox gives a volume that it makes itself to
the container. Sources: pct(1) on mount points, pve-container 6.1.6 (``idmap``), mount_setattr(2).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import here
from docker_lxc_gate.formats.container_config import mount_points
from docker_lxc_gate.formats.id_map import NEEDED
from docker_lxc_gate.lint.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker_lxc_gate.doctor.case import Case, Reads
    from docker_lxc_gate.doctor.guest_reads import DockerMount, Owned
    from docker_lxc_gate.doctor.node_reads import Owner
    from docker_lxc_gate.formats.container_config import ContainerConfig
    from docker_lxc_gate.formats.id_map import Range
    from docker_lxc_gate.lint.finding import Finding

#: The id that the kernel shows for one that is not mapped.
OVERFLOW = 65534


def points(config: ContainerConfig) -> dict[str, str]:
    """Return the source of each of Proxmox's mount points in effect, by its place."""
    return {
        place: given.get("volume") or next((key for key, word in given.items() if not word), "")
        for place, (_, given) in mount_points(config).items()
    }


def binds(config: ContainerConfig) -> dict[str, str]:
    """Return the bind mounts of a configuration: the path on the node, by that in the container."""
    found = points(config)
    for entry in config.all("lxc.mount.entry"):
        source, place, *_ = (*entry.value.split(), "", "")
        strange = "create=file" in entry.value or source.startswith(("/dev", "/sys", "/proc"))
        if "bind" in entry.value and place and not strange:
            found[f"/{place.lstrip('/')}"] = source
    return {place: source for place, source in found.items() if source.startswith("/")}


def _reads(config: ContainerConfig) -> tuple[Reads, Reads]:
    places = binds(config)
    if not places:
        return (), ()
    return tuple(map(node_reads.owner, places.values())), (guest_reads.owned(tuple(places)),)


@Examination(
    "whether a bind mount belongs to nobody",
    ("bind-mount-of-nobody",),
    node=(node_reads.id_maps,),
    guest=(guest_reads.CONTAINERS,),
    by_config=_reads,
)
def bind_mounts(case: Case) -> Iterator[Finding]:
    """Yield each bind mount that nobody owns; a problem if a Docker container writes there."""
    places = binds(case.config)
    if not places:
        return
    maps = case.node.of(node_reads.id_maps(case.ctid))
    seen = case.guest.of(guest_reads.owned(tuple(places)))
    containers = case.guest.maybe(guest_reads.CONTAINERS, ())
    for (place, source), owned in zip(places.items(), seen, strict=False):
        if owned is None or not _is_unmapped(owned):
            continue
        owner = case.node.of(node_reads.owner(source))
        unmapped = list(_unmapped_owners(owner, maps.users, maps.groups))
        if not unmapped:
            continue
        writer = guest_reads.writer(containers, partial(_is_below, place=place))
        writer = "" if owned.usable else writer
        said = (
            f"{place} in the container is {source} on the node, of {' and '.join(unmapped)}, "
            f"which the container does not have: it shows as {owned.user}:{owned.group}"
        )
        if writer:
            said += f"; the Docker container {writer} is to write there, and cannot"
        severity = Severity.PROBLEM if writer else None
        yield here(
            "bind-mount-of-nobody", said, fix=_fix(case, owner, maps.users), severity=severity
        )


def _is_unmapped(owned: Owned) -> bool:
    """Whether nobody owns it; a strange group alone counts where root cannot use it."""
    return owned.user == OVERFLOW or (owned.group == OVERFLOW and not owned.usable)


def _unmapped_owners(
    owner: Owner, users: Sequence[Range], groups: Sequence[Range]
) -> Iterator[str]:
    if not _has(users, owner.user):
        yield f"user {owner.user}"
    if not _has(groups, owner.group):
        yield f"group {owner.group}"


def _has(ranges: Sequence[Range], outside: int) -> bool:
    return any(each.outside <= outside < each.outside + each.count for each in ranges)


def _is_below(mount: DockerMount, place: str) -> bool:
    within = mount.source == place or mount.source.startswith(f"{place.rstrip('/')}/")
    return mount.type == "bind" and within


def _fix(case: Case, owner: Owner, users: Sequence[Range]) -> str:
    base = next((each.outside for each in users if each.inside == 0), 100000)
    user, group = (each if each < NEEDED else 0 for each in (owner.user, owner.group))
    chown = (
        f"On the node: chown -R {base + user}:{base + group} there; then {user}:{group} owns it in "
        "the container"
    )
    if case.pct:
        return (
            f"{chown}. Or keep the owner, and give the mount point idmap= (pve-container 6.1.6 "
            f"or later)."
        )
    return f"{chown}. Or keep the owner, and add idmap=container to the mount entry's options."
