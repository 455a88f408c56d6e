"""The content of the images: packages, files, units. Pure data, and the digests over it.

Packages and units are in ``recipe.toml``. Files are below ``recipe/node`` and ``recipe/container``,
at their path in the image.
"""

from __future__ import annotations

from pathlib import Path

from docker_lxc_gate.lab import tree
from docker_lxc_gate.lab.sources import Archives, seen_from_guest
from docker_lxc_gate.tables import Row, table

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


class _Node(Row, frozen=True):
    packages: tuple[str, ...]
    #: mmdebstrap's options.
    options: tuple[str, ...]
    masked: tuple[str, ...]


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
    """``recipe.toml``."""

    node: _Node
    container: _Container
    apt: _Apt


_RECIPE = table("docker_lxc_gate.lab", "recipe", Recipe)
NODE, CONTAINER, APT = _RECIPE.node, _RECIPE.container, _RECIPE.apt


def apt_options(release: str) -> tuple[str, ...]:
    """Return apt's settings for an image of ``release``."""
    return APT.options if release in APT.stable else (*APT.options, APT.stale_release)


def node_tree(archives: Archives) -> dict[str, tree.Entry]:
    """Return the files laid over the node's root; keys are added when it is built."""
    null = tree.Entry(link="/dev/null")
    return {
        **tree.folder(_HERE / "recipe/node", ""),
        **{f"{_UNITS}/{unit}": null for unit in NODE.masked},
        **_enabled("multi-user.target", "systemd-networkd.service"),
        **_proxies(archives),
    }


def container_tree(archives: Archives, variant: str = "standard") -> dict[str, tree.Entry]:
    """Return the files laid over a container template's root."""
    network = VARIANTS[variant]
    daemon: dict[str, tree.Entry] = {}
    if network == "networkd":  # both units, like systemctl enable
        daemon |= _enabled("multi-user.target", "systemd-networkd.service")
        daemon |= _enabled("network-online.target", "systemd-networkd-wait-online.service")
    return {
        **tree.folder(_HERE / "recipe/container", ""),
        **tree.folder(_HERE / "recipe" / network, ""),
        **daemon,
        **_proxies(archives),
    }


def guest_tree() -> dict[str, tree.Entry]:
    """Return the files that provisioning installs: phoenix_hypervisor, and our ``pct``."""
    guest = _HERE / "guest"
    launcher, hook = (guest / name for name in ("launcher.py", "poststop_launcher.py"))
    return {
        **tree.folder(guest / "pct", "/usr/local/lib/pct-front/pct"),
        "/usr/sbin/pct": tree.Entry(launcher.read_bytes(), 0o755),
        _POST_STOP: tree.Entry(hook.read_bytes(), 0o755),
        "/usr/share/lxc/config/common.conf.d/01-pve.conf": tree.text(
            f"lxc.hook.post-stop = {_POST_STOP}\n"
        ),
        **tree.folder(guest / "phoenix_hypervisor", "/usr/local/phoenix_hypervisor"),
        "/usr/local/bin/phoenix": tree.Entry(link="/usr/local/phoenix_hypervisor/bin/phoenix"),
    }


def node_digest(release: str, archives: Archives) -> str:
    """Return the digest of the node image's recipe."""
    return _digest("node", release, archives, node_tree(archives))


def template_digest(release: str, archives: Archives) -> str:
    """Return the digest of the recipe of a release's templates."""
    trees = (container_tree(archives, variant) for variant in VARIANTS)
    return _digest("container", release, archives, *trees)


def _digest(kind: str, release: str, archives: Archives, *trees: tree.Tree) -> str:
    # The code that builds images, and the recipe: a change of them makes another image.
    sources = ("image.py", "programs/cut_lists.sh", "tree.py", "recipe.toml")
    code = {name: tree.Entry((_HERE / name).read_bytes()) for name in sources}
    return tree.digest(kind, release, archives.lines(release), code, *trees)


def template_name(release: str, variant: str) -> str:
    """Return a template's file name, in Proxmox's form."""
    return f"debian-{release}-{variant}{TEMPLATE_SUFFIX}"


def _enabled(target: str, unit: str) -> dict[str, tree.Entry]:
    return {f"{_UNITS}/{target}.wants/{unit}": tree.Entry(link=f"/usr/lib/systemd/system/{unit}")}


def _proxies(archives: Archives) -> dict[str, tree.Entry]:
    settings = seen_from_guest(archives.settings)
    return {"/etc/apt/apt.conf.d/50lab-proxy": tree.text(settings)} if settings else {}
