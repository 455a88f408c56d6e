"""The content of the images: packages, files, units. Pure data, and the digests over it.

Packages and units are in ``recipe.toml``. Files are below ``recipe/node`` and ``recipe/container``,
at their path in the image. A :class:`Machine` adds the parts of one kind of node.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from docker_lxc_gate.lab import tree
from docker_lxc_gate.lab.repository import Repository  # noqa: TC001 - msgspec reads it
from docker_lxc_gate.lab.sources import seen_from_guest
from docker_lxc_gate.tables import Row, table

if TYPE_CHECKING:
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


class Machine(Row, frozen=True):
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


class _Container(Row, frozen=True):
    packages: tuple[str, ...]
    ifupdown: tuple[str, ...]
    docker: tuple[str, ...]
    later: tuple[str, ...]
    dropped: tuple[str, ...]


class _Apt(Row, frozen=True):
    options: tuple[str, ...]
    stale_release: str
    stable: frozenset[str]
    dpkg: tuple[str, ...]


class Recipe(Row, frozen=True):
    """``recipe.toml``; ``node`` is what all machines share, and each has its own packages alone."""

    node: Machine
    container: _Container
    apt: _Apt
    machine: tuple[Machine, ...]


_RECIPE = table("docker_lxc_gate.lab", "recipe", Recipe)
CONTAINER, APT = _RECIPE.container, _RECIPE.apt
DEFAULT, PROXMOX = (
    replace(machine, packages=_RECIPE.node.packages + machine.packages)
    for machine in _RECIPE.machine
)


def apt_options(release: str) -> tuple[str, ...]:
    """Return apt's settings for an image of ``release``."""
    return APT.options if release in APT.stable else (*APT.options, APT.stale_release)


def node_tree(archives: Archives, machine: Machine = DEFAULT) -> dict[str, Entry]:
    """Return the files laid over the node's root; keys are added when it is built."""
    null = tree.Entry(link="/dev/null")
    return {
        **tree.folder(_HERE / "recipe/node", ""),
        **tree.folder(_HERE / "recipe" / machine.name, ""),
        **{f"{_UNITS}/{unit}": null for unit in (*_RECIPE.node.masked, *machine.masked)},
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
        APT.dpkg,
        node_tree(archives, machine),
    )


def template_digest(release: str, archives: Archives) -> str:
    """Return the digest of the recipe of a release's templates."""
    return tree.digest(
        "container",
        _builder(),
        CONTAINER.packages,
        CONTAINER.dropped,
        CONTAINER.docker,
        CONTAINER.ifupdown,
        (*CONTAINER.docker, *CONTAINER.later),
        archives.lines(release),
        apt_options(release),
        APT.dpkg,
        *(container_tree(archives, variant) for variant in VARIANTS),
    )


def template_name(release: str, variant: str) -> str:
    """Return a template's file name, in Proxmox's form."""
    return f"debian-{release}-{variant}{TEMPLATE_SUFFIX}"


def _builder() -> dict[str, Entry]:
    """Return the code that builds images: a change of it makes another image."""
    modules = ("image.py", "lists.py", "tree.py")
    return {name: tree.Entry((_HERE / name).read_bytes()) for name in modules}


def _enabled(target: str, unit: str) -> dict[str, Entry]:
    return {f"{_UNITS}/{target}.wants/{unit}": tree.Entry(link=f"/usr/lib/systemd/system/{unit}")}


def _proxies(archives: Archives) -> dict[str, Entry]:
    settings = seen_from_guest(archives.settings)
    return {"/etc/apt/apt.conf.d/50lab-proxy": tree.text(settings)} if settings else {}
