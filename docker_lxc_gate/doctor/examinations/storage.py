"""Docker's storage: the file system below it, whether native overlay could be mounted, the store.

Advice only: fuse-overlayfs is what the plan wants. Sources: kernel fs/overlayfs (user namespaces
since 5.11), Docker's manual on storage drivers, OpenZFS 2.2 (overlay as upper layer), mkfs.xfs(8)
on ftype.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.case import Case, Examination, here
from docker_lxc_gate.facts.apt import is_within
from docker_lxc_gate.formats.apparmor_profile import profiles
from docker_lxc_gate.formats.mount_table import Mount, below

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Finding

_COSTS = {
    "fuse-overlayfs": "fuse-overlayfs, which passes every access to a file through a daemon",
    "vfs": "vfs, which copies every layer whole: much disk, and slow",
}
_OVERLAY = patterns.compile(r"mount\b.{0,200}fstype ?= ?\(?[^)]{0,200}\boverlay\b")


@Examination(
    "what Docker's data lies on",
    ("storage-driver",),
    node=(node_reads.mounts, node_reads.VERSIONS, node_reads.confined),
    guest=(guest_reads.INFO,),
    of_docker=True,
)
def data(case: Case) -> Iterator[Finding]:
    """Say on which file system Docker's data lies, and what hinders native overlay."""
    info = case.guest.of(guest_reads.INFO)
    if info.driver not in _COSTS or info.snapshotter:
        return
    root = info.docker_root_dir or "/var/lib/docker"
    mount = below(case.node.of(node_reads.mounts(case.ctid)), root)
    versions = case.node.of(node_reads.VERSIONS)
    confined = case.node.of(node_reads.confined(case.ctid))
    system = f"{mount.type[:40]} (kernel {versions.get('kernel', 'unknown')[:40]})"
    if mount.type == "zfs" and versions.get("zfs"):
        system = f"zfs {versions['zfs'][:40]}"
    obstacles = list(overlay_obstacles(mount, versions, confined))
    if obstacles:
        could = f"native overlay cannot be mounted here: {'; '.join(obstacles)}"
    else:
        could = "native overlay could be mounted here: storage-driver overlay2"
    doubt = " (XFS made with ftype=0 excepted: see xfs_info)" if mount.type == "xfs" else ""
    yield here(
        "storage-driver",
        f"Docker runs on {_COSTS[info.driver]}; {root[:200]} is on {system}, and {could}{doubt}",
    )


@Examination(
    "whether another storage driver has images",
    ("images-of-another-driver",),
    guest=(guest_reads.INFO, guest_reads.WITH_IMAGES),
    of_docker=True,
)
def other_drivers(case: Case) -> Iterator[Finding]:
    """Say that another driver has images, too."""
    driver = case.guest.of(guest_reads.INFO).driver
    others = [name for name in case.guest.of(guest_reads.WITH_IMAGES) if name != driver]
    if others and driver:
        named = ", ".join(name[:40] for name in others)
        yield here(
            "images-of-another-driver",
            f"Docker runs on {driver}, and has images of {named} on its disk",
        )


@Examination(
    "where Docker keeps its images",
    ("containerd-image-store",),
    guest=(guest_reads.INFO,),
    of_docker=True,
)
def store(case: Case) -> Iterator[Finding]:
    """Say that Docker keeps its images in containerd's store, which hides what a driver kept."""
    info = case.guest.of(guest_reads.INFO)
    if info.snapshotter:
        yield here(
            "containerd-image-store",
            f"Docker {info.server_version or 'of an unknown version'} keeps its images in "
            f"containerd's store, by the snapshotter {info.driver or '(unnamed)'}",
        )


def overlay_obstacles(
    mount: Mount, versions: Mapping[str, str], confined: node_reads.Confined
) -> Iterator[str]:
    """Yield what keeps native overlay from being mounted where Docker's data lies."""
    kernel, zfs = versions.get("kernel", ""), versions.get("zfs", "")
    if not is_within(kernel, "5.11", ""):  # overlay may be mounted in a user namespace
        yield f"the node's kernel is {kernel or 'unknown'}, and 5.11 is needed"
    if mount.type == "zfs" and not is_within(zfs.removeprefix("zfs-"), "2.2", ""):
        yield f"ZFS is {zfs or 'of an unknown version'}, and 2.2 is needed"
    elif mount.type not in {"ext4", "xfs", "btrfs", "zfs"}:
        yield f"{mount.type[:40]} is not known to hold an overlay's upper layer"
    if not allows_overlay(confined):
        yield f"no rule of the profile {confined.name[:80]} allows mount fstype=overlay"


def allows_overlay(confined: node_reads.Confined) -> bool:
    """Whether a profile lets overlay through; a named one by the rules in its own file."""
    if confined.confines_nothing or confined.is_generated:
        return True
    return any(
        rule.bare in {"mount", "all"} or _OVERLAY.match(rule.bare)
        for profile in profiles(confined.profile)
        if profile.name == confined.name
        for rule in profile.rules
        if not rule.denies
    )
