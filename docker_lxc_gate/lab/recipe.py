"""The content of the images: packages, files, units. Pure data, and the digests over it.

Files are below ``recipe/node`` and ``recipe/container``, at their path in the image. All nodes
share the former and :data:`NODE_PACKAGES`. A :class:`Machine` adds the parts of one kind of node:
:data:`DEFAULT` here, Proxmox VE's in :mod:`docker_lxc_gate.lab.proxmox`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.lab import tree
from docker_lxc_gate.lab.sources import seen_from_guest

if TYPE_CHECKING:
    from docker_lxc_gate.lab.repository import Repository
    from docker_lxc_gate.lab.sources import Archives
    from docker_lxc_gate.lab.tree import Entry

DEFAULT_RELEASE = "trixie"
#: The templates, each with the folder of its files. ``standard`` has no Docker and is like
#: Proxmox's own templates: ifupdown, no unit masked, systemd-networkd not enabled. ``docker`` has
#: Debian's Docker on its default storage driver, and systemd-networkd, like other templates.
VARIANTS = {"standard": "ifupdown", "docker": "networkd"}
TEMPLATE_SUFFIX = "_amd64.tar.zst"

_HERE = Path(__file__).parent
#: The path of Proxmox's own hook, which LXC runs after a container has stopped.
_POST_STOP = "/usr/share/lxc/hooks/lxc-pve-poststop-hook"
_UNITS = "/etc/systemd/system"

NODE_PACKAGES = (
    "apparmor",
    "apparmor-utils",
    "attr",
    "auditd",
    "ca-certificates",
    "curl",
    "dbus",
    "docker-registry",
    "e2fsprogs",
    "git",
    "iproute2",
    "iptables",
    "iputils-ping",
    "jq",
    "kmod",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "skopeo",
    "systemd-sysv",
    "udev",
    "uidmap",
    "zstd",
)
CONTAINER_PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "libkmod2",  # without it systemd-modules-load fails, unlike on Proxmox
    "procps",
    "systemd-sysv",
)
#: Of priority "important", as all packages of Proxmox's templates are, or higher.
IFUPDOWN_PACKAGES = ("dhcpcd-base", "ifupdown")
DOCKER_PACKAGES = ("docker.io", "iptables")
#: Packages that may be installed in a container later; apt's lists there have only these, and
#: their dependencies.
LATER_PACKAGES = (*DOCKER_PACKAGES, "ca-certificates", "docker-cli", "fuse-overlayfs")

#: Unpacking under emulation is slow, so files that no program reads are left out. The settings stay
#: in the image: later packages are as small, and dpkg does not sync after each file.
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)
#: Files of a template that no program needs: an older containerd's shim, and debconf's second
#: copies. Also the links that enable timers, and a service that would prompt on the console if
#: there is no machine-id (Proxmox); these units are not masked.
CONTAINER_DROPPED = (
    "etc/systemd/system/timers.target.wants/apt-daily",
    "etc/systemd/system/timers.target.wants/dpkg-db-backup",
    "usr/bin/containerd-shim-runc-v1",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-firstboot.service",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
)
APT_OPTIONS = (
    'Acquire::Languages "none"',
    'APT::Install-Recommends "false"',
)
#: A mirror may lag behind with testing, so that its Release file has expired. This is only for the
#: lab's images.
STALE_RELEASE = 'Acquire::Check-Valid-Until "false"'
STABLE = frozenset({"bookworm", "trixie"})

#: Units that are slow under emulation, or that a timer starts in the middle of a measurement.
NODE_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "logrotate.timer",
    "man-db.timer",
    "nftables.service",
    "serial-getty@ttyS0.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
)


@dataclass(frozen=True)
class Machine:
    """A kind of node: its additions to the parts that all nodes share.

    Its files are below ``recipe/<name>``, and override those of ``recipe/node``.
    """

    name: str
    packages: tuple[str, ...]
    release: str = DEFAULT_RELEASE
    #: Archives besides Debian's.
    repositories: tuple[Repository, ...] = ()
    #: mmdebstrap's options, for packages that need help.
    options: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    #: A shell script for the booted node, before provisioning; may be repeated.
    prepare: str = ""
    #: Whether ``pct`` is our front end over LXC.
    front_end: bool = True
    #: Free space needed for a build (bytes): there are three copies of its root at a time.
    space: int = 6 << 30


DEFAULT = Machine(
    "default",
    (
        *NODE_PACKAGES,
        "dnsmasq-base",  # lxc-net's DHCP and DNS
        "linux-image-cloud-amd64",
        "lxc",
        "lxcfs",
    ),
    # sshd starts root's shell for each command, and under emulation bash takes a while to start.
    options=('--customize-hook=chroot "$1" usermod --shell /bin/sh root',),
)


def apt_options(release: str) -> tuple[str, ...]:
    """Return apt's settings for an image of ``release``."""
    return APT_OPTIONS if release in STABLE else (*APT_OPTIONS, STALE_RELEASE)


def node_tree(archives: Archives, machine: Machine = DEFAULT) -> dict[str, Entry]:
    """Return the files laid over the node's root; keys are added when it is built."""
    return {
        **tree.folder(_HERE / "recipe/node", ""),
        **tree.folder(_HERE / "recipe" / machine.name, ""),
        **_masked((*NODE_MASKED, *machine.masked)),
        **_enabled("multi-user.target", "systemd-networkd.service"),
        **_proxies(archives),
    }


def container_tree(archives: Archives, variant: str = "standard") -> dict[str, Entry]:
    """Return the files laid over a container template's root."""
    network = VARIANTS[variant]
    daemon: dict[str, Entry] = {}
    if network == "networkd":  # both units, like systemctl enable
        daemon |= _enabled("multi-user.target", "systemd-networkd.service")
        daemon |= _enabled("network-online.target", "systemd-networkd-wait-online.service")
    return {
        **tree.folder(_HERE / "recipe/container", ""),
        **tree.folder(_HERE / "recipe" / network, ""),
        **daemon,
        **_proxies(archives),
    }


def guest_tree(machine: Machine = DEFAULT) -> dict[str, Entry]:
    """Return the files that provisioning installs: phoenix_hypervisor, and our ``pct``."""
    guest = _HERE / "guest"
    found: dict[str, Entry] = {}
    if machine.front_end:
        found = tree.folder(guest / "pct", "/usr/local/lib/pct-front/pct")
        launcher = (guest / "pct/launcher.py").read_bytes()
        found["/usr/sbin/pct"] = tree.Entry(launcher, 0o755)
        hook = (guest / "pct/poststop_launcher.py").read_bytes()
        found[_POST_STOP] = tree.Entry(hook, 0o755)
        found["/usr/share/lxc/config/common.conf.d/01-pve.conf"] = tree.text(
            f"lxc.hook.post-stop = {_POST_STOP}\n"
        )
    found |= tree.folder(guest / "phoenix_hypervisor", "/usr/local/phoenix_hypervisor")
    found["/usr/local/bin/phoenix"] = tree.Entry(link="/usr/local/phoenix_hypervisor/bin/phoenix")
    return found


def node_digest(release: str, archives: Archives, machine: Machine = DEFAULT) -> str:
    """Return the digest of the node image's recipe."""
    return tree.digest(
        "node",
        _builder(),
        machine.packages,
        machine.options,
        machine.prepare,
        [repository.source for repository in machine.repositories],
        archives.lines(release),
        apt_options(release),
        DPKG_OPTIONS,
        node_tree(archives, machine),
    )


def template_digest(release: str, archives: Archives) -> str:
    """Return the digest of the recipe of a release's templates."""
    return tree.digest(
        "container",
        _builder(),
        CONTAINER_PACKAGES,
        CONTAINER_DROPPED,
        DOCKER_PACKAGES,
        IFUPDOWN_PACKAGES,
        LATER_PACKAGES,
        archives.lines(release),
        apt_options(release),
        DPKG_OPTIONS,
        *(container_tree(archives, variant) for variant in VARIANTS),
    )


def template_name(release: str, variant: str) -> str:
    """Return a template's file name, in Proxmox's form."""
    return f"debian-{release}-{variant}{TEMPLATE_SUFFIX}"


def _builder() -> dict[str, Entry]:
    """Return the code that builds images: a change of it makes another image."""
    modules = ("image.py", "lists.py", "tree.py")
    return {name: tree.Entry((_HERE / name).read_bytes()) for name in modules}


def _masked(units: tuple[str, ...]) -> dict[str, Entry]:
    return {f"{_UNITS}/{unit}": tree.Entry(link="/dev/null") for unit in units}


def _enabled(target: str, unit: str) -> dict[str, Entry]:
    return {f"{_UNITS}/{target}.wants/{unit}": tree.Entry(link=f"/usr/lib/systemd/system/{unit}")}


def _proxies(archives: Archives) -> dict[str, Entry]:
    settings = seen_from_guest(archives.settings)
    return {"/etc/apt/apt.conf.d/50lab-proxy": tree.text(settings)} if settings else {}
