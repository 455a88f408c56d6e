"""Under which conditions a pair of versions breaks something: what else was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docker_lxc_gate.doctor import guest_reads, node_reads, upgrade_reads
from docker_lxc_gate.doctor.examinations import confinement, storage
from docker_lxc_gate.doctor.examinations.ownership import points
from docker_lxc_gate.formats.container_config import given

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker_lxc_gate.doctor.case import Case, Reads
    from docker_lxc_gate.doctor.node_reads import Confined

#: Runtimes that know time namespaces.
_KNOW_TIME = frozenset({"runc", "io.containerd.runc.v2", "crun"})
_SOCKET = frozenset({"/var/run/docker.sock", "/run/docker.sock"})
#: What the conditions ask, the node about a container, and in the container.
GUEST: Reads = (
    guest_reads.INFO,
    guest_reads.SETTINGS,
    guest_reads.CONTAINERS,
    guest_reads.OWN_APPARMOR,
    upgrade_reads.IPTABLES,
)
NODE = (node_reads.confined, node_reads.VERSIONS, upgrade_reads.KERNEL_HAS)


def _confined(case: Case) -> Confined:
    return case.node.of(node_reads.confined(case.ctid))


def _own_profiles(case: Case) -> bool:
    options = case.guest.of(guest_reads.INFO).security_options or []
    return any(each.partition(",")[0] == "name=apparmor" for each in options)


def _own_profiles_refused(case: Case) -> bool:
    options = case.config.current()
    if options.get("unprivileged") != "1" and "lxc.idmap" not in options:
        return False  # root of the node's own user namespace may load profiles
    unconfined = options.get("lxc.apparmor.profile") == "unconfined"
    return unconfined and not case.guest.of(guest_reads.OWN_APPARMOR)


def _fresh_without_driver(case: Case) -> bool:
    if {"docker-ce", "docker.io"} & case.before.get("container", {}).keys():
        return False
    return "storage-driver" not in _settings(case) and not storage.allows_overlay(_confined(case))


def _settings(case: Case) -> dict[str, Any]:
    return guest_reads.settings(case.guest.of(guest_reads.SETTINGS))


def _socket_given(case: Case) -> bool:
    return any(
        mount.source in _SOCKET
        for each in case.guest.of(guest_reads.CONTAINERS)
        for mount in each.mounts or ()
    )


def _first_cgroup_keys(case: Case) -> bool:
    keys = [key for key in case.config.current() if key.startswith("lxc.cgroup.")]
    return any(key.split(".")[2] not in {"dir", "relative"} for key in keys)  # of both versions


def _has(case: Case, *modules: str) -> bool:
    """Whether the node's kernel has all of some modules."""
    return case.node.of(upgrade_reads.KERNEL_HAS).issuperset(modules)


def _legacy(case: Case) -> bool:
    return case.guest.of(upgrade_reads.IPTABLES) == "legacy"


#: By the name that a row of the table gives.
CONDITIONS: Mapping[str, tuple[str, Callable[[Case], bool]]] = {
    "generated-profile": (
        "LXC generates the container's profile",
        lambda case: _confined(case).is_generated,
    ),
    "container-base": (
        "the profile includes LXC's container-base",
        lambda case: not _confined(case).is_generated and confinement.denies(_confined(case)),
    ),
    "no-parser": (
        "the container has no apparmor_parser",
        lambda case: case.guest.of(guest_reads.OWN_APPARMOR) & {"parser", "kernel"} == {"parser"},
    ),
    "own-profiles": ("Docker loads docker-default", _own_profiles),
    "own-profiles-refused": (
        "the container is unconfined, and Docker in it sees AppArmor",
        _own_profiles_refused,
    ),
    "no-ipset": (
        "the node's kernel lacks ip_set or xt_set",
        lambda case: not _has(case, "ip_set", "ip_set_hash_net", "xt_set"),
    ),
    "no-raw-table": (
        "iptables-legacy, and the kernel lacks iptable_raw",
        lambda case: _legacy(case) and not _has(case, "iptable_raw"),
    ),
    "iptables-legacy": ("the container has iptables-legacy", _legacy),
    "fresh-without-driver": (
        "there was no Docker, daemon.json names no driver, and the profile refuses overlay",
        _fresh_without_driver,
    ),
    "socket-given": ("a Docker container is given docker.sock", _socket_given),
    "another-runtime": (
        "default-runtime is not runc",
        lambda case: str(_settings(case).get("default-runtime", "runc")) not in _KNOW_TIME,
    ),
    "fuse-overlayfs": (
        "Docker runs on fuse-overlayfs",
        lambda case: case.guest.of(guest_reads.INFO).driver == "fuse-overlayfs",
    ),
    "first-cgroup-keys": ("the configuration has lxc.cgroup.* keys", _first_cgroup_keys),
    "no-nesting": (
        "features lacks nesting=1",
        lambda case: case.pct and "nesting" not in given(case.config.current().get("features", "")),
    ),
    "unmanaged": (
        "ostype is unmanaged",
        lambda case: case.config.current().get("ostype") == "unmanaged",
    ),
    "bind-mounts": (
        "a mount point is a directory of the node",
        lambda case: any(each.startswith("/") for each in points(case.config).values()),
    ),
    "volumes": (
        "a mount point is a volume",
        lambda case: any(not each.startswith("/") for each in points(case.config).values()),
    ),
}
