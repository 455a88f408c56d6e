"""Under which conditions a pair of versions breaks something: what else was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from docker_lxc_gate.doctor import guest_reads, node_reads, upgrade_reads
from docker_lxc_gate.doctor.case import Case
from docker_lxc_gate.doctor.examinations import confinement, storage
from docker_lxc_gate.doctor.examinations.ownership import points
from docker_lxc_gate.formats.container_config import given

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker_lxc_gate.doctor.node_reads import Confined
    from docker_lxc_gate.doctor.upgrade_pairs import Where
    from docker_lxc_gate.machines.read import Read

#: By machine, the version of each package of the table that is there.
State: TypeAlias = "Mapping[Where, Mapping[str, str]]"


@dataclass(frozen=True)
class Container(Case):
    """One container and its node before an upgrade.

    Attributes:
        before: what is installed; a machine that could not be asked is not in it.
        after: what would be installed, with the same machines.
    """

    before: State = field(default_factory=dict)
    after: State = field(default_factory=dict)


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


def _confined(of: Container) -> Confined:
    return of.node.of(node_reads.confined(of.ctid))


def _own_profiles(of: Container) -> bool:
    options = of.guest.of(guest_reads.INFO).security_options or []
    return any(each.partition(",")[0] == "name=apparmor" for each in options)


def _own_profiles_refused(of: Container) -> bool:
    options = of.config.current()
    if options.get("unprivileged") != "1" and "lxc.idmap" not in options:
        return False  # root of the node's own user namespace may load profiles
    unconfined = options.get("lxc.apparmor.profile") == "unconfined"
    return unconfined and not of.guest.of(guest_reads.OWN_APPARMOR)


def _fresh_without_driver(of: Container) -> bool:
    if {"docker-ce", "docker.io"} & of.before.get("container", {}).keys():
        return False
    return "storage-driver" not in _settings(of) and not storage.allows_overlay(_confined(of))


def _settings(of: Container) -> dict[str, Any]:
    return guest_reads.settings(of.guest.of(guest_reads.SETTINGS))


def _socket_given(of: Container) -> bool:
    return any(
        mount.source in _SOCKET
        for each in of.guest.of(guest_reads.CONTAINERS)
        for mount in each.mounts or ()
    )


def _first_cgroup_keys(of: Container) -> bool:
    keys = [key for key in of.config.current() if key.startswith("lxc.cgroup.")]
    return any(key.split(".")[2] not in {"dir", "relative"} for key in keys)  # of both versions


def _has(of: Container, *modules: str) -> bool:
    """Whether the node's kernel has all of some modules."""
    return of.node.of(upgrade_reads.KERNEL_HAS).issuperset(modules)


def _legacy(of: Container) -> bool:
    return of.guest.of(upgrade_reads.IPTABLES) == "legacy"


#: By the name that a row of the table gives.
CONDITIONS: Mapping[str, tuple[str, Callable[[Container], bool]]] = {
    "generated-profile": (
        "LXC generates the container's profile",
        lambda of: _confined(of).is_generated,
    ),
    "container-base": (
        "the profile includes LXC's container-base",
        lambda of: not _confined(of).is_generated and confinement.denies(_confined(of)),
    ),
    "no-parser": (
        "the container has no apparmor_parser",
        lambda of: of.guest.of(guest_reads.OWN_APPARMOR) & {"parser", "kernel"} == {"parser"},
    ),
    "own-profiles": ("Docker loads docker-default", _own_profiles),
    "own-profiles-refused": (
        "the container is unconfined, and Docker in it sees AppArmor",
        _own_profiles_refused,
    ),
    "no-ipset": (
        "the node's kernel lacks ip_set or xt_set",
        lambda of: not _has(of, "ip_set", "ip_set_hash_net", "xt_set"),
    ),
    "no-raw-table": (
        "iptables-legacy, and the kernel lacks iptable_raw",
        lambda of: _legacy(of) and not _has(of, "iptable_raw"),
    ),
    "iptables-legacy": ("the container has iptables-legacy", _legacy),
    "fresh-without-driver": (
        "there was no Docker, daemon.json names no driver, and the profile refuses overlay",
        _fresh_without_driver,
    ),
    "socket-given": ("a Docker container is given docker.sock", _socket_given),
    "another-runtime": (
        "default-runtime is not runc",
        lambda of: str(_settings(of).get("default-runtime", "runc")) not in _KNOW_TIME,
    ),
    "fuse-overlayfs": (
        "Docker runs on fuse-overlayfs",
        lambda of: of.guest.of(guest_reads.INFO).driver == "fuse-overlayfs",
    ),
    "first-cgroup-keys": ("the configuration has lxc.cgroup.* keys", _first_cgroup_keys),
    "no-nesting": (
        "features lacks nesting=1",
        lambda of: (
            not of.config.plain and "nesting" not in given(of.config.current().get("features", ""))
        ),
    ),
    "unmanaged": (
        "ostype is unmanaged",
        lambda of: of.config.current().get("ostype") == "unmanaged",
    ),
    "bind-mounts": (
        "a mount point is a directory of the node",
        lambda of: any(each.startswith("/") for each in points(of.config).values()),
    ),
    "volumes": (
        "a mount point is a volume",
        lambda of: any(not each.startswith("/") for each in points(of.config).values()),
    ),
}
