"""Under which conditions a pair of versions breaks something: what else was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doctor import guest_reads, node_reads, upgrade_reads
from doctor.troubles import runc_fix, storage
from targets.runtime.container_config import given

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from doctor.upgrade_case import Container
    from targets.read import Read

#: Runtimes that know time namespaces.
_KNOW_TIME = frozenset({"runc", "io.containerd.runc.v2", "crun"})
_SOCKET = frozenset({"/var/run/docker.sock", "/run/docker.sock"})
#: What the conditions ask, the node about a container, and in the container.
GUEST: tuple[Read[Any], ...] = (
    guest_reads.INFO,
    guest_reads.SETTINGS,
    guest_reads.CONTAINERS,
    guest_reads.OWN_APPARMOR,
    upgrade_reads.IPTABLES,
)


def node(ctid: int) -> tuple[Read[Any], ...]:
    """Return what the conditions ask the node about a container."""
    return (node_reads.confined(ctid), node_reads.VERSIONS, upgrade_reads.KERNEL_HAS)


def _generated(of: Container) -> bool:
    return of.node.of(node_reads.confined(of.ctid)).is_generated


def _container_base(of: Container) -> bool:
    confined = of.node.of(node_reads.confined(of.ctid))
    return not confined.is_generated and runc_fix.denies(confined)


def _no_parser(of: Container) -> bool:
    missing = of.guest.of(guest_reads.OWN_APPARMOR)
    return "parser" in missing and "kernel" not in missing


def _own_profiles(of: Container) -> bool:
    options = of.guest.of(guest_reads.INFO).security_options or []
    return any(each.partition(",")[0] == "name=apparmor" for each in options)


def _no_ipset(of: Container) -> bool:
    return not of.node.of(upgrade_reads.KERNEL_HAS) >= {"ip_set", "ip_set_hash_net", "xt_set"}


def _no_raw_table(of: Container) -> bool:
    return _iptables_legacy(of) and "iptable_raw" not in of.node.of(upgrade_reads.KERNEL_HAS)


def _fresh_without_driver(of: Container) -> bool:
    if {"docker-ce", "docker.io"} & of.before.get("container", {}).keys():
        return False
    if "storage-driver" in guest_reads.settings(of.guest.of(guest_reads.SETTINGS)):
        return False
    return not storage.allows_overlay(of.node.of(node_reads.confined(of.ctid)))


def _socket_given(of: Container) -> bool:
    return any(
        mount.source in _SOCKET
        for each in of.guest.of(guest_reads.CONTAINERS)
        for mount in each.mounts or ()
    )


def _another_runtime(of: Container) -> bool:
    said = guest_reads.settings(of.guest.of(guest_reads.SETTINGS)).get("default-runtime", "runc")
    return str(said) not in _KNOW_TIME


def _fuse_overlayfs(of: Container) -> bool:
    return of.guest.of(guest_reads.INFO).driver == "fuse-overlayfs"


def _first_cgroup_keys(of: Container) -> bool:
    keys = [key for key in of.config.current() if key.startswith("lxc.cgroup.")]
    return any(key.split(".")[2] not in {"dir", "relative"} for key in keys)  # of both versions


def _own_profiles_refused(of: Container) -> bool:
    options = of.config.current()
    if options.get("unprivileged") != "1" and "lxc.idmap" not in options:
        return False  # root of the node's own user namespace may load profiles
    unconfined = options.get("lxc.apparmor.profile") == "unconfined"
    return unconfined and not of.guest.of(guest_reads.OWN_APPARMOR)


def _iptables_legacy(of: Container) -> bool:
    return of.guest.of(upgrade_reads.IPTABLES) == "legacy"


def _no_nesting(of: Container) -> bool:
    return not of.config.plain and "nesting" not in given(of.config.current().get("features", ""))


def _unmanaged(of: Container) -> bool:
    return of.config.current().get("ostype") == "unmanaged"


def _points(of: Container) -> list[str]:
    """Return what Proxmox mounts in the container besides its root."""
    options = of.config.current().items()
    return [
        value.removeprefix("volume=") for key, value in options if key.strip("0123456789") == "mp"
    ]


def _bind_mounts(of: Container) -> bool:
    return any(each.startswith("/") for each in _points(of))


def _volumes(of: Container) -> bool:
    return any(not each.startswith("/") for each in _points(of))


#: By the name that a row of the table gives.
CONDITIONS: Mapping[str, tuple[str, Callable[[Container], bool]]] = {
    "generated-profile": ("LXC generates the container's profile", _generated),
    "container-base": ("the profile includes LXC's container-base", _container_base),
    "no-parser": ("the container has no apparmor_parser", _no_parser),
    "own-profiles": ("Docker loads docker-default", _own_profiles),
    "no-ipset": ("the node's kernel lacks ip_set or xt_set", _no_ipset),
    "no-raw-table": ("iptables-legacy, and the kernel lacks iptable_raw", _no_raw_table),
    "fresh-without-driver": (
        "there was no Docker, daemon.json names no driver, and the profile refuses overlay",
        _fresh_without_driver,
    ),
    "socket-given": ("a Docker container is given docker.sock", _socket_given),
    "another-runtime": ("default-runtime is not runc", _another_runtime),
    "fuse-overlayfs": ("Docker runs on fuse-overlayfs", _fuse_overlayfs),
    "first-cgroup-keys": ("the configuration has lxc.cgroup.* keys", _first_cgroup_keys),
    "own-profiles-refused": (
        "the container is unconfined, and Docker in it sees AppArmor",
        _own_profiles_refused,
    ),
    "iptables-legacy": ("the container has iptables-legacy", _iptables_legacy),
    "no-nesting": ("features lacks nesting=1", _no_nesting),
    "unmanaged": ("ostype is unmanaged", _unmanaged),
    "bind-mounts": ("a mount point is a directory of the node", _bind_mounts),
    "volumes": ("a mount point is a volume", _volumes),
}
