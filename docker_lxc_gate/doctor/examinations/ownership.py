"""What nobody in the container owns: ids without a map, bind mounts, graphics cards.

Of bind mounts only those of the container's configuration: Proxmox gives a volume that it makes
itself to the container. No path of the guest is followed from the node. An owner that shows as
65534 may be the container's own nobody; root in the container may do everything with that one's
files, and nothing with a stranger's. Sources: pct(1) on mount points, ``idmap`` (pve-container
6.1.6) and ``dev[n]``, mount_setattr(2), user_namespaces(7), capabilities(7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import PROBLEMS, Case, Examination, Reads, here
from docker_lxc_gate.formats.container_config import ContainerConfig, mount_points
from docker_lxc_gate.formats.id_map import MANY, NEEDED, Range, holes, in_words, missed
from docker_lxc_gate.lint.finding import Finding, Severity

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
    mounts = points(config)
    for entry in config.all("lxc.mount.entry"):
        source, place, *_ = (*entry.value.split(), "", "")
        strange = "create=file" in entry.value or source.startswith(("/dev", "/sys", "/proc"))
        if "bind" in entry.value and place and not strange:
            mounts[f"/{place.lstrip('/')}"] = source
    return {place: source for place, source in mounts.items() if source.startswith("/")}


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
        unmapped = [] if any(entry.has_outside(user) for entry in maps.users) else [f"user {user}"]
        if not any(entry.has_outside(group) for entry in maps.groups):
            unmapped.append(f"group {group}")
        if not unmapped:
            continue
        writer = _writer(containers, place)
        cause = (
            f"{place} in the container is {source} on the node, of {' and '.join(unmapped)}, "
            f"which the container does not have: it shows as {owned.user}:{owned.group}"
        )
        fix = _fix_mount(case, user, group, maps.users)
        refused = writer and not owned.usable
        if refused:
            cause += f"; the Docker container {writer} is to write there, and cannot"
        severity = Severity.PROBLEM if refused else None
        yield here("bind-mount-of-nobody", cause, fix=fix, severity=severity)


def _is_unmapped(owned: guest_reads.Owned) -> bool:
    """Whether nobody owns it; a strange group alone counts where root cannot use it."""
    return owned.user == OVERFLOW or (owned.group == OVERFLOW and not owned.usable)


def _writer(containers: Sequence[guest_reads.Container], place: str) -> str:
    """Return the name of a Docker container that may write below a place; empty if none may."""
    names = (
        container.name.removeprefix("/")
        for container in containers
        for mount in container.mounts or ()
        if mount.rw and mount.type == "bind"
        if mount.source == place or mount.source.startswith(f"{place.rstrip('/')}/")
    )
    return next(names, "")


def _fix_mount(case: Case, user: int, group: int, users: Sequence[Range]) -> str:
    base = next((entry.outside for entry in users if entry.inside == 0), 100000)
    user, group = (number if number < NEEDED else 0 for number in (user, group))
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


#: Rights to read and write.
_OWNER, _GROUP, _OTHERS = 0o600, 0o060, 0o006


@Examination(
    "whether a graphics device can be opened",
    ("gpu-of-nobody",),
    guest=(guest_reads.DEVICES, guest_reads.GROUPS),
)
def devices(case: Case) -> Iterator[Finding]:
    """Yield each device that nobody in the container may open, or another group than is meant."""
    groups = case.guest.maybe(guest_reads.GROUPS, {})
    meant = " and ".join(f"{name} is {number}" for name, number in sorted(groups.items()))
    for device in case.guest.of(guest_reads.DEVICES):
        is_gpu = device.path.startswith(("/dev/dri/render", "/dev/kfd", "/dev/nvidia"))
        fix = _fix_device(device) if case.pct else _OF_LXC
        if is_gpu and not _may_be_opened(device):
            yield here(
                "gpu-of-nobody",
                f"{device.path} belongs to {device.user}:{device.group} in the container, "
                f"with permissions {device.mode:o}: its owner there is nobody",
                fix=fix,
            )
        elif is_gpu and groups and _is_of_another_group(device, groups):
            cause = f"{device.path} belongs to group {device.group} in the container, where {meant}"
            yield PROBLEMS["gpu-of-nobody"].here(
                cause, why=_ANOTHER_GROUP, fix=fix, severity=Severity.ADVICE
            )


def _is_of_another_group(device: guest_reads.Given, groups: Mapping[str, int]) -> bool:
    """Whether the right to a device is a group's, which is none of these."""
    granted = device.mode & _GROUP == _GROUP and device.mode & _OTHERS != _OTHERS
    return granted and device.group not in {0, OVERFLOW, *groups.values()}


_ANOTHER_GROUP = (
    "A program that is a member of render or video has no right to it: the number on the node is "
    "another one. Root of the container has one only if it owns the device."
)


def _may_be_opened(device: guest_reads.Given) -> bool:
    """Whether somebody in the container has a right to it: others, its owner, or its group."""
    owned = device.user != OVERFLOW and device.mode & _OWNER == _OWNER
    grouped = device.group != OVERFLOW and device.mode & _GROUP == _GROUP
    return device.mode & _OTHERS == _OTHERS or owned or grouped


_OF_LXC = (
    "On the node: chgrp it to a group that the container has, by a udev rule, so that it survives "
    "a reboot of the node."
)


def _fix_device(device: guest_reads.Given) -> str:
    return (
        f"Delete its lxc.mount.entry, and set: dev0: {device.path[:100]},gid=G. G is the id of the "
        "group render or video in the container (getent group render). Then restart the container."
    )


_ASKED = (messages.READ, guest_reads.CONTAINERS)


@Examination(
    "whether every id is mapped", ("id-map-hole",), node=(node_reads.id_maps,), guest=_ASKED
)
def unmapped(case: Case) -> Iterator[Finding]:
    """Yield the holes in the container's map, for users and for groups."""
    maps = case.node.of(node_reads.id_maps(case.ctid))
    named = [] if case.guest.maybe(messages.READ, None) is None else _missed(case)
    for at, (noun, letter, ranges) in enumerate(
        (("user", "u", maps.users), ("group", "g", maps.groups))
    ):
        gaps = holes(ranges)
        if not gaps:
            continue
        ids = {pair[at] for pair in named}
        inside = sorted(n for n in ids if any(first <= n <= last for first, last in gaps))
        cause = f"the {noun} {in_words(gaps)} not mapped"
        if inside:
            cause += f"; Docker's message names {noun} {inside[0]}, which is one of them"
        yield here(
            "id-map-hole",
            cause,
            fix=_fix(letter, ranges, gaps),
            severity=Severity.SEEN if inside else None,
        )


@Examination(
    "whether an image has ids that are not mapped",
    ("image-above-id-map",),
    node=(node_reads.id_maps,),
    guest=_ASKED,
)
def above(case: Case) -> Iterator[Finding]:
    """Yield the ids above 65535 that Docker could not give a file to."""
    named = _missed(case)
    maps = case.node.of(node_reads.id_maps(case.ctid))
    above = {
        f"{noun} {ids[at]}"
        for ids in named
        for at, (noun, ranges) in enumerate((("user", maps.users), ("group", maps.groups)))
        if ids[at] >= NEEDED
        and not any(entry.inside <= ids[at] < entry.inside + entry.count for entry in ranges)
    }
    if above:
        names = ", ".join(sorted(above)[:MANY])
        yield here(
            "image-above-id-map",
            f"an image holds files of {names}, which the container does not have",
        )


def _missed(case: Case) -> list[tuple[int, int]]:
    """Return user and group of each file that Docker could not give to its owner."""
    return [
        ids
        for message in messages.said(case, "id-map-hole", "image-above-id-map")
        if (ids := missed(message.line))
    ]


def _fix(letter: str, ranges: Sequence[Range], gaps: Sequence[tuple[int, int]]) -> str:
    """Return what to write: the holes get the node's ids that follow from the longest range."""
    longest = max(ranges, key=lambda entry: entry.count, default=None)
    apart = longest.outside - longest.inside if longest else 0
    wanted = [(first, first + apart, last - first + 1) for first, last in gaps]
    taken = any(
        entry.outside < outside + count and outside < entry.outside + entry.count
        for _, outside, count in wanted
        for entry in ranges
    )
    if taken or len(gaps) > MANY or apart <= 0:
        return PROBLEMS["id-map-hole"].fix
    lines = "; ".join(f"lxc.idmap: {letter} {a} {b} {count}" for a, b, count in wanted)
    file = "/etc/subuid" if letter == "u" else "/etc/subgid"
    return (
        f"Add to the container's configuration: {lines}. {file} must give root these ids of the "
        "node. Then restart the container."
    )
