"""What Proxmox writes into a container's root file system."""

from __future__ import annotations

from pathlib import Path

from .config import Section, properties
from .files import link, make_folder, put

_NETS = [f"net{index}" for index in range(32)]
_GETTY = "/lib/systemd/system/container-getty@.service"
_PRESET = """\
# Added by PVE at create-time for first-boot configuration.
enable container-getty@.service
disable getty@.service
disable sys-kernel-config.mount
disable sys-kernel-debug.mount
disable systemd-networkd.service
"""
_BEGIN, _END = "# --- BEGIN PVE ---\n", "# --- END PVE ---\n"


def personalise(rootfs: Path, section: Section) -> None:
    """Write host name, networks, presets and consoles: at every start, each file anew."""
    put(rootfs, "fastboot", "")
    if (rootfs / "etc/systemd/system").is_dir():
        _systemd(rootfs, int(section.get("tty", "2")))
    nets = [properties(section.get(name)) for name in _NETS if section.get(name)]
    if (rootfs / "etc/network").is_dir():  # else the template's own unit for networkd asks DHCP
        put(rootfs, "etc/network/interfaces", interfaces(nets))
    hostname = section.get("hostname")
    put(rootfs, "etc/hostname", f"{hostname}\n")
    put(rootfs, "etc/hosts", _hosts(rootfs / "etc/hosts", hostname))


def _systemd(rootfs: Path, consoles: int) -> None:
    make_folder(rootfs, "etc/systemd/system-preset")
    put(rootfs, "etc/systemd/system-preset/00-pve.preset", _PRESET)
    wants = "etc/systemd/system/getty.target.wants"
    if not (rootfs / _GETTY.lstrip("/")).is_file() or not (rootfs / wants).is_dir():
        return
    for index in range(1, 7):
        link(rootfs, f"{wants}/getty@tty{index}.service", "")
        target = _GETTY if index <= consoles else ""
        link(rootfs, f"{wants}/container-getty@{index}.service", target)
    unit = f"usr{_GETTY}"
    if "pts/%I" in (text := _text(rootfs / unit)):
        put(rootfs, unit, text.replace("pts/%I", "tty%I"))  # LXC's consoles are tty1, tty2, …


def interfaces(nets: list[dict[str, str]]) -> str:
    """The file of ifupdown, with a stanza for each network."""
    text = "auto lo\niface lo inet loopback\n"
    for net in nets:
        name = net.get("name", "eth0")
        text += f"\nauto {name}\niface {name} inet {net.get('ip', 'manual')}\n"
    return text


def _text(path: Path) -> str:
    """A file's text; nothing of what is absent, or a link."""
    plain = path.is_file() and not path.is_symlink()
    return path.read_text(encoding="utf-8", errors="surrogateescape") if plain else ""


def _hosts(path: Path, hostname: str) -> str:
    """The file with our own lines replaced, or added at the end."""
    block = f"{_BEGIN}127.0.1.1 {hostname}\n{_END}"
    text = _text(path)
    if not text:
        return f"127.0.0.1 localhost\n::1 localhost\n{block}"
    before, begun, rest = text.partition(_BEGIN)
    return before + block + rest.partition(_END)[2] if begun else text.rstrip("\n") + f"\n{block}"
