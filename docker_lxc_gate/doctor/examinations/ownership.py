"""What nobody in the container owns: bind mounts, Docker's volumes, graphics cards.

Of bind mounts only those of the container's configuration: Proxmox gives a volume that it makes
itself to the container. Of Docker's volumes the container itself looks: no path of the guest is
followed from the node. An owner that shows as 65534 may be the container's own nobody; root in the
container may do everything with that one's files, and nothing with a stranger's. Sources: pct(1) on
mount points, ``idmap`` (pve-container 6.1.6) and ``dev[n]``, mount_setattr(2), user_namespaces(7),
capabilities(7).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.case import PROBLEMS, Case, Examination, Reads, here
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.container_config import ContainerConfig, mount_points
from docker_lxc_gate.formats.id_map import NEEDED, Range
from docker_lxc_gate.lint.finding import Finding, Severity
from docker_lxc_gate.printable import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker_lxc_gate.doctor.guest_reads import DockerMount, Given, Owned

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
        user, group = case.node.of(node_reads.owner(source))
        unmapped = [] if any(each.has_outside(user) for each in maps.users) else [f"user {user}"]
        if not any(each.has_outside(group) for each in maps.groups):
            unmapped.append(f"group {group}")
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
        fix = _fix_mount(case, user, group, maps.users)
        yield here("bind-mount-of-nobody", said, fix=fix, severity=severity)


def _is_unmapped(owned: Owned) -> bool:
    """Whether nobody owns it; a strange group alone counts where root cannot use it."""
    return owned.user == OVERFLOW or (owned.group == OVERFLOW and not owned.usable)


def _is_below(mount: DockerMount, place: str) -> bool:
    within = mount.source == place or mount.source.startswith(f"{place.rstrip('/')}/")
    return mount.type == "bind" and within


def _fix_mount(case: Case, user: int, group: int, users: Sequence[Range]) -> str:
    base = next((each.outside for each in users if each.inside == 0), 100000)
    user, group = (each if each < NEEDED else 0 for each in (user, group))
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


#: Of more ranges a reader needs no more.
_MANY = 3
_ROOT = "/var/lib/docker"


@Examination(
    "whether a volume belongs to nobody",
    ("volume-of-nobody",),
    node=(node_reads.id_maps,),
    guest=(guest_reads.VOLUMES, guest_reads.CONTAINERS, guest_reads.INFO),
    of_docker=True,
)
def volumes(case: Case) -> Iterator[Finding]:
    """Yield each volume that nobody owns; a problem if a Docker container writes there."""
    volumes = case.guest.of(guest_reads.VOLUMES)
    strange = [each for each in volumes.found if not each.usable]
    if strange:
        has = _ranges(case.node.of(node_reads.id_maps(case.ctid)).users)
        containers = case.guest.maybe(guest_reads.CONTAINERS, ())
        info = case.guest.maybe(guest_reads.INFO, None)
        fix = _fix_volume(case, (info.docker_root_dir if info else "") or _ROOT)
        for each in strange:
            writer = guest_reads.writer(containers, partial(_is_volume, name=each.name))
            said = (
                f"the volume {each.name} shows as {each.user}:{each.group} in the "
                f"container: its owner on the node is none of {has}, which the container has"
            )
            if writer:
                said += f"; the Docker container {writer} is to write there, and cannot"
            yield here(
                "volume-of-nobody", said, fix=fix, severity=Severity.PROBLEM if writer else None
            )
    if volumes.more:
        raise FactError("Docker has too many volumes to look at all of them")


def _ranges(users: Sequence[Range]) -> str:
    """Return the node's ids that the container has."""
    said = [f"{each.outside} to {each.outside + each.count - 1}" for each in users]
    return f"the ids {listed(said, _MANY, 'more ranges')}"


def _is_volume(mount: DockerMount, name: str) -> bool:
    return mount.type == "volume" and mount.source.endswith(f"/{name}/_data")


def _fix_volume(case: Case, root: str) -> str:
    fix, point = PROBLEMS["volume-of-nobody"].fix, _point(case.config, root)
    if not case.pct or not point:
        return f"{fix} Otherwise copy its files into a new volume, with ids that are mapped."
    return (
        f"{fix} Or keep the owner, and give {point}, on which Docker's data lies, idmap= "
        "(pve-container 6.1.6 or later)."
    )


def _point(config: ContainerConfig, root: str) -> str:
    """Return the mount point of the configuration that a path lies on; empty for the root."""
    points = mount_points(config)
    over = [place for place in points if f"{root}/".startswith(f"{place}/")]
    return points[max(over, key=len)][0] if over else ""


#: Rights to read and write.
_OWNER, _GROUP, _OTHERS = 0o600, 0o060, 0o006


@Examination(
    "whether a graphics device can be opened", ("gpu-of-nobody",), guest=(guest_reads.DEVICES,)
)
def devices(case: Case) -> Iterator[Finding]:
    """Yield each device that nobody in the container may open."""
    for each in case.guest.of(guest_reads.DEVICES):
        is_gpu = each.path.startswith(("/dev/dri/render", "/dev/kfd", "/dev/nvidia"))
        if is_gpu and not _may_be_opened(each):
            fix = _fix_device(each) if case.pct else _OF_LXC
            yield here(
                "gpu-of-nobody",
                f"{each.path} belongs to {each.user}:{each.group} in the container, "
                f"with permissions {each.mode:o}: its owner there is nobody",
                fix=fix,
            )


def _may_be_opened(device: Given) -> bool:
    """Whether somebody in the container has a right to it: others, its owner, or its group."""
    owned = device.user != OVERFLOW and device.mode & _OWNER == _OWNER
    grouped = device.group != OVERFLOW and device.mode & _GROUP == _GROUP
    return device.mode & _OTHERS == _OTHERS or owned or grouped


_OF_LXC = (
    "On the node: chgrp it to a group that the container has, by a udev rule, so that it survives "
    "a reboot of the node."
)


def _fix_device(device: Given) -> str:
    return (
        f"Delete its lxc.mount.entry, and set: dev0: {device.path[:100]},gid=G. G is the id of the "
        "group render or video in the container (getent group render). Then restart the container."
    )
