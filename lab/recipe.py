"""What is in the images: packages, files, units. Pure data, and the digests over it.

Files live below ``recipe/node`` and ``recipe/container`` at the path they get in the image.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab import tree
from lab.sources import seen_from_guest

if TYPE_CHECKING:
    from lab.sources import Archives
    from lab.tree import Entry

DEFAULT_RELEASE = "trixie"
#: ``standard`` has no Docker, ``docker`` has Debian's own on its default storage driver.
VARIANTS = ("standard", "docker")
TEMPLATE_SUFFIX = "_amd64.tar.zst"

_HERE = Path(__file__).parent
_ENABLED = "/etc/systemd/system/multi-user.target.wants"

NODE_PACKAGES = (
    "apparmor",
    "apparmor-utils",
    "attr",
    "auditd",
    "ca-certificates",
    "curl",
    "dbus",
    "dnsmasq-base",  # lxc-net's DHCP and DNS
    "docker-registry",
    "e2fsprogs",
    "git",
    "iproute2",
    "iptables",
    "iputils-ping",
    "jq",
    "kmod",
    "linux-image-cloud-amd64",
    "lxc",
    "lxcfs",
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
    "libkmod2",  # without it systemd-modules-load fails, which on Proxmox it does not
    "procps",
    "systemd-sysv",
)
DOCKER_PACKAGES = ("docker.io", "iptables")

#: Unpacked under emulation, so nothing is in it that no program reads. The settings stay in
#: the image: what is installed later is as small, and dpkg does not sync after each file.
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)
#: Unpacked each time a container is made, and used by nothing: an older containerd's shims,
#: and debconf's second copies.
CONTAINER_DROPPED = (
    "usr/bin/containerd-shim-runc-v1",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
)
APT_OPTIONS = (
    'Acquire::Languages "none"',
    'APT::Install-Recommends "false"',
)
#: A mirror may lag behind with a release that has no other copy (testing): its Release file
#: is then past its date. Only for the lab's images, which are thrown away.
STALE_RELEASE = 'Acquire::Check-Valid-Until "false"'
STABLE = frozenset({"bookworm", "trixie"})

#: Slow under emulation, or woken by a clock in the middle of a measurement.
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
CONTAINER_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "systemd-networkd-wait-online.service",
)


def apt_options(release: str) -> tuple[str, ...]:
    """Return apt's settings for an image of ``release``."""
    return APT_OPTIONS if release in STABLE else (*APT_OPTIONS, STALE_RELEASE)


def node_tree(archives: Archives) -> dict[str, Entry]:
    """Return the files laid over the node's root; keys are added when it is built."""
    return {
        **tree.folder(_HERE / "recipe/node", ""),
        **_units(NODE_MASKED),
        **_proxies(archives),
    }


def container_tree(archives: Archives) -> dict[str, Entry]:
    """Return the files laid over a container template's root."""
    return {
        **tree.folder(_HERE / "recipe/container", ""),
        **_units(CONTAINER_MASKED),
        **_proxies(archives),
    }


def guest_tree() -> dict[str, Entry]:
    """Return what provisioning puts on the node: the ``pct`` front end and phoenix_hypervisor."""
    guest = _HERE / "guest"
    found = tree.folder(guest / "pct", "/usr/local/lib/pct-front/pct")
    launcher = guest / "pct/launcher.py"
    if launcher.is_file():
        found["/usr/sbin/pct"] = tree.Entry(launcher.read_bytes(), 0o755)
    found |= tree.folder(guest / "phoenix_hypervisor", "/usr/local/phoenix_hypervisor")
    found["/usr/local/bin/phoenix"] = tree.Entry(link="/usr/local/phoenix_hypervisor/bin/phoenix")
    return found


def node_digest(release: str, archives: Archives) -> str:
    """Return what the node's image is made of, as a digest."""
    return tree.digest(
        "node",
        _builder(),
        NODE_PACKAGES,
        archives.lines(release),
        apt_options(release),
        DPKG_OPTIONS,
        node_tree(archives),
    )


def template_digest(release: str, archives: Archives) -> str:
    """Return what both templates of a release are made of, as a digest."""
    return tree.digest(
        "container",
        _builder(),
        CONTAINER_PACKAGES,
        CONTAINER_DROPPED,
        DOCKER_PACKAGES,
        archives.lines(release),
        apt_options(release),
        DPKG_OPTIONS,
        container_tree(archives),
    )


def template_name(release: str, variant: str) -> str:
    """Return a template's file name, in Proxmox's form."""
    return f"debian-{release}-{variant}{TEMPLATE_SUFFIX}"


def _builder() -> dict[str, Entry]:
    """Return the code that builds: an image made by other code is another image."""
    return {name: tree.Entry((_HERE / name).read_bytes()) for name in ("image.py", "tree.py")}


def _units(masked: tuple[str, ...]) -> dict[str, Entry]:
    """Mask these units, and enable systemd's network daemon."""
    units = {f"/etc/systemd/system/{unit}": tree.Entry(link="/dev/null") for unit in masked}
    daemon = "/usr/lib/systemd/system/systemd-networkd.service"
    return {**units, f"{_ENABLED}/systemd-networkd.service": tree.Entry(link=daemon)}


def _proxies(archives: Archives) -> dict[str, Entry]:
    settings = seen_from_guest(archives.settings)
    return {"/etc/apt/apt.conf.d/50lab-proxy": tree.text(settings)} if settings else {}
