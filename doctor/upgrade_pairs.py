"""Versions that are known not to go together, and since when they do: one row a pair.

A version is compared as dpkg does. A range ends before its last version, and ``~`` after a version
includes its candidates. A row names who reported it, and where it was mended: a thread of a
repository, or a package's changelog. What no row names is no promise: see :data:`KNOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Where: TypeAlias = Literal["node", "container"]
#: Not a package: the kernel that the node runs, or would run after a reboot.
KERNEL = "kernel"


@dataclass(frozen=True)
class Versions:
    """The versions of one package from ``since`` up to, and without, ``before``; empty: no end."""

    package: str
    since: str = ""
    before: str = ""


@dataclass(frozen=True)
class Side:
    """One machine, and the packages of which one must be in its range."""

    where: Where
    versions: tuple[Versions, ...]


@dataclass(frozen=True)
class Pair:
    """Versions that do not go together.

    Attributes:
        id: its stable name, by which programs and docs/doctor.md know it.
        title: what happens with them, as a sentence.
        why: the cause.
        mend: what to do instead, or afterwards.
        broken: all of these together break something.
        mended: with one of these, nothing breaks.
        otherwise: what mends it if no version does.
        only: the condition under which it breaks, a key of
            :data:`doctor.upgrade_conditions.CONDITIONS`; empty: always.
        sources: who reported it, and where it was mended.
        advice: whether Docker runs nevertheless.
    """

    id: str
    title: str
    why: str
    mend: str
    broken: tuple[Side, ...]
    sources: tuple[str, ...]
    mended: tuple[Side, ...] = ()
    otherwise: str = ""
    only: str = ""
    advice: bool = False


@dataclass(frozen=True)
class Known:
    """Up to which version of a package threads and changelogs were read for this table."""

    package: str
    before: str
    source: str


def _engine(since: str, before: str = "") -> Side:
    """Docker's own package, with its epoch, and Debian's and Ubuntu's."""
    own = Versions("docker-ce", f"5:{since}" if since else "", f"5:{before}" if before else "")
    return Side("container", (own, Versions("docker.io", since, before)))


#: runc that opens sysctls through a detached mount, alone or as containerd.io brings it.
_REOPENS = Side(
    "container",
    (
        Versions("runc", "1.2.8~", "1.3~"),
        Versions("runc", "1.3.3~", "1.4.0~"),
        Versions("runc", "1.4.0~rc3"),
        Versions("containerd.io", "1.7.28-2~", "2~"),
        Versions("containerd.io", "2.1.5~"),
    ),
)
_REOPEN = (
    "runc's fix for CVE-2025-52881 opens sysctls through a detached mount. AppArmor sees its path "
    "without /proc, and a deny rule of the container's profile refuses it without a record."
)

PAIRS: tuple[Pair, ...] = (
    Pair(
        "upgrade-runc-reopen",
        "no Docker container starts: open sysctl … reopen fd: permission denied",
        f"{_REOPEN} LXC generates that rule for every container, also with nesting.",
        "Upgrade LXC on the node first, and restart the container: its profile is made at its "
        "start. If there is no such version yet, keep the packages: apt-mark hold runc "
        "containerd.io in the container.",
        broken=(_REOPENS,),
        mended=(
            Side(
                "node",
                (
                    Versions("lxc-pve", "6.0.0-2~", "6.0.1~"),
                    Versions("lxc-pve", "6.0.5-2~"),
                    Versions("lxc", "1:6.0.4-4+deb13u4~", "1:6.0.5~"),
                    Versions("lxc", "1:6.0.6~"),
                ),
            ),
        ),
        only="generated-profile",
        sources=(
            "opencontainers/runc#4968",
            "containerd/containerd#12484",
            "lxc/lxc#4609",
            "lxc/lxc#4630",
            "mkuthan/homelab-public#43",
            "Debian's changelog of lxc 1:6.0.4-4+deb13u4",
        ),
    ),
    Pair(
        "upgrade-runc-reopen-base",
        "no Docker container starts: open sysctl … reopen fd: permission denied",
        f"{_REOPEN} The profile includes LXC's container-base, and no version of LXC changes that.",
        "First give the container a profile that states its own rules, as the plan's does "
        "(python -m remediation plan), or let LXC generate it.",
        broken=(_REOPENS,),
        otherwise="a profile that does not include abstractions/lxc/container-base",
        only="container-base",
        sources=("opencontainers/runc#4968", "opencontainers/runc#4972"),
    ),
    Pair(
        "upgrade-docker-23-parser",
        "no Docker container starts: apparmor_parser is missing",
        "Docker 23.0.0 takes a kernel with AppArmor for one that it can load profiles into, also "
        "where the container has no apparmor_parser. 23.0.1 mended a part of that.",
        "Install Docker 23.0.2 or later.",
        broken=(_engine("23.0.0~", "23.0.2~"),),
        mended=(_engine("23.0.2~"),),
        only="no-parser",
        sources=("moby/moby#44900", "moby/moby#44970", "moby/moby#45043"),
    ),
    Pair(
        "upgrade-docker-28-ipset",
        "Docker does not start: it cannot create its ipset",
        "Docker 28.0.0 needs ip_set, ip_set_hash_net and xt_set, which the node's kernel lacks. A "
        "container cannot load modules.",
        "Install Docker 28.0.1 or later, which needs them no more.",
        broken=(_engine("28.0.0~", "28.0.1~"),),
        mended=(_engine("28.0.1~"),),
        only="no-ipset",
        sources=("moby/moby#49503", "moby/moby#49505", "moby/moby#49545"),
    ),
    Pair(
        "upgrade-docker-28-raw",
        "no Docker container with a published port starts: there is no table raw",
        "Docker 28 drops packets to a published port in iptables' table raw. With iptables-legacy "
        "that is the module iptable_raw, which the node's kernel lacks.",
        "In the container: update-alternatives --set iptables /usr/sbin/iptables-nft. Or from "
        "28.0.2 on set DOCKER_INSECURE_NO_IPTABLES_RAW=1 for docker.service, which opens the "
        "ports to the local network.",
        broken=(_engine("28.0.0~"),),
        otherwise="iptables-nft in the container",
        only="no-raw-table",
        sources=("moby/moby#49557", "moby/moby#49621"),
    ),
    Pair(
        "upgrade-docker-29-store",
        "Docker can unpack no image: it would mount overlayfs, which the profile refuses",
        "Docker 29 on a fresh installation keeps images in containerd's store, by the snapshotter "
        "overlayfs. A Docker that was there before keeps its storage driver.",
        'First write "storage-driver": "fuse-overlayfs" to /etc/docker/daemon.json.',
        broken=(_engine("29.0.0~"),),
        otherwise="a storage-driver in daemon.json, or a profile that allows overlay",
        only="fresh-without-driver",
        sources=(
            "docs.docker.com/engine/storage/containerd",
            "whywaita/actions-runner-images-lxd#65",
        ),
    ),
    Pair(
        "upgrade-docker-29-api",
        "programs that drive Docker by its socket fail: client version is too old",
        "Docker 29 refuses clients of an API older than 1.44, such as Traefik before 2.11.31, and "
        "3.6.0. Docker itself runs.",
        "Upgrade what uses the socket. Until then set DOCKER_MIN_API_VERSION=1.24 for "
        "docker.service.",
        broken=(_engine("29.0.0~"),),
        otherwise="clients that speak API 1.44",
        only="socket-given",
        sources=("traefik/traefik#12253", "ddev/ddev#7841"),
        advice=True,
    ),
    Pair(
        "upgrade-docker-29-socketcall",
        "32-bit programs in Docker's containers fail: their sockets are refused",
        "The seccomp filter of Docker 29.4.2 refuses the system call socketcall altogether.",
        "Install Docker 29.4.3 or later.",
        broken=(_engine("29.4.2~", "29.4.3~"),),
        mended=(_engine("29.4.3~"),),
        sources=("docker/docs#24960", "moby/moby#52537"),
        advice=True,
    ),
    Pair(
        "upgrade-docker-29-time",
        "no Docker container of another runtime than runc starts: time namespace",
        "Docker 29.5 gives its containers a time namespace, which sysbox, Kata and youki refuse.",
        'Upgrade the runtime, or write "features": {"time-namespaces": false} to daemon.json.',
        broken=(_engine("29.5.0~"),),
        otherwise="runc, or a runtime that knows time namespaces",
        only="another-runtime",
        sources=("moby/moby#52326", "moby/moby#52577", "nestybox/sysbox#1011"),
    ),
    Pair(
        "upgrade-containerd-files",
        "a program in a Docker container may open 1024 files, instead of 1048576",
        "The unit of containerd.io 2.1.5 sets no LimitNOFILE any more.",
        'If a program needs more: "default-ulimits" in daemon.json, or --ulimit nofile=….',
        broken=(Side("container", (Versions("containerd.io", "2.1.5~"),)),),
        otherwise="default-ulimits in daemon.json",
        sources=("moby/moby#51485", "docker/docs#23730"),
        advice=True,
    ),
    Pair(
        "upgrade-kernel-unix-sockets",
        "programs in Docker's containers cannot open unix sockets, once the node has rebooted",
        "AppArmor of kernel 6.17 and later distinguishes unix sockets from the network. Docker's "
        "own profile, docker-default, states no ABI, and compiled by AppArmor 4.1 it allows none.",
        "Upgrade Docker to 29.4.3 or later first. Until then the node can boot an older kernel.",
        broken=(
            Side("node", (Versions(KERNEL, "6.17~"),)),
            Side("container", (Versions("apparmor", "4.1~"),)),
            _engine("", "29.4.3~"),
        ),
        mended=(_engine("29.4.3~"),),
        only="own-profiles",
        sources=(
            "containerd/containerd#12726",
            "hanxi/cups-web#91",
            "moby/moby#52454",
            "moby/moby#52537",
        ),
    ),
    Pair(
        "upgrade-kernel-fuse-sync",
        "sync on the node waits for fuse-overlayfs, for ever if its container is frozen",
        "Since kernel 6.16 sync(2) writes back fuse file systems, and waits for their daemons.",
        "Back the container up in mode stop (vzdump), which freezes nothing. Kernels 6.18.21, "
        "6.19.11 and 7.0 mend it.",
        broken=(
            Side(
                "node",
                (Versions(KERNEL, "6.16~", "6.18.21~"), Versions(KERNEL, "6.19~", "6.19.11~")),
            ),
            Side("container", (Versions("fuse-overlayfs"),)),
        ),
        mended=(
            Side("node", (Versions(KERNEL, "6.18.21~", "6.19~"), Versions(KERNEL, "6.19.11~"))),
        ),
        only="fuse-overlayfs",
        sources=("containers/fuse-overlayfs#386", "graysky2/profile-sync-daemon#411"),
        advice=True,
    ),
    Pair(
        "upgrade-fuse-overlayfs-entries",
        "fuse-overlayfs may list a directory's entries wrongly",
        "The order in which it walked its entries was not stable.",
        "Upgrade fuse-overlayfs to 1.16.",
        broken=(Side("container", (Versions("fuse-overlayfs", "", "1.16~"),)),),
        mended=(Side("container", (Versions("fuse-overlayfs", "1.16~"),)),),
        only="fuse-overlayfs",
        sources=("openwrt/packages#28291", "containers/fuse-overlayfs, NEWS of 1.16"),
        advice=True,
    ),
    Pair(
        "upgrade-lxc-7-keys",
        "the container does not start: LXC 7 knows no lxc.cgroup.* keys",
        "LXC 7.0 dropped the first cgroup hierarchy, and refuses a configuration that names it. "
        "Proxmox's lxc-pve only warns.",
        "First rename the keys to lxc.cgroup2.*, or delete them.",
        broken=(Side("node", (Versions("lxc", "1:7.0.0~"),)),),
        otherwise="a configuration without lxc.cgroup.* keys",
        only="first-cgroup-keys",
        sources=("lxc/lxc#4679", "proxmox/lxc, debian/patches/cgroupv1-warnings"),
    ),
    Pair(
        "upgrade-apparmor-4-userns",
        "units of the guest that want a user namespace fail: userns_create",
        "AppArmor 4.1 mediates user namespaces, and the profiles of older LXC have no rule for "
        "them.",
        "Upgrade LXC on the node in the same run, and restart the container.",
        broken=(
            Side("node", (Versions("apparmor", "4.1.0~beta5-2~"),)),
            Side("node", (Versions("lxc", "", "1:6.0.3-2~"),)),
        ),
        mended=(Side("node", (Versions("lxc", "1:6.0.3-2~"),)),),
        sources=("lxc/lxc#4529", "Debian's changelog of lxc 1:6.0.3-2"),
        advice=True,
    ),
    Pair(
        "upgrade-apparmor-4-stop",
        "docker stop kills after ten seconds: runc may not signal the container",
        "AppArmor 4 has a profile for runc, and docker-default of older Docker takes no signal "
        "from it.",
        "Upgrade Docker to 26.1.3 or later.",
        broken=(
            Side("container", (Versions("apparmor", "4.0.0~"),)),
            _engine("", "26.1.3~"),
        ),
        mended=(_engine("26.1.3~"),),
        only="own-profiles",
        sources=("moby/moby#47749", "moby/moby#47829"),
        advice=True,
    ),
)

#: What is newer is said to be unknown.
KNOWN: tuple[Known, ...] = (
    Known("docker-ce", "5:29.11~", "moby/moby, release docker-v29.10.0"),
    Known("docker.io", "29.11~", "moby/moby, release docker-v29.10.0"),
    Known("containerd.io", "2.4~", "lxc/lxc#4606"),
    Known("containerd", "2.3~", "home-assistant/operating-system#4723"),
    Known("runc", "1.5~", "Azure/AgentBaker#8741"),
    Known("fuse-overlayfs", "1.17~", "containers/fuse-overlayfs, NEWS of 1.16"),
    Known("lxc-pve", "6.0.6~", "opencontainers/runc#4968"),
    Known("lxc", "1:7.1~", "lxc/lxc#4679"),
    Known("apparmor", "4.2~", "lxc/lxc#4529"),
    Known(KERNEL, "7.1~", "community-scripts/ProxmoxVE#14363"),
)
#: Of each of these, Docker needs one; a plan that leaves none is a trouble.
NEEDED: tuple[tuple[Where, tuple[str, ...]], ...] = (
    ("node", ("lxc-pve", "lxc")),
    ("container", ("docker-ce", "docker.io")),
    ("container", ("containerd.io", "containerd")),
    ("container", ("containerd.io", "runc")),
)
