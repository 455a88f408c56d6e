"""What Proxmox reads from a container's root file system, and what it writes into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .config import properties
from .files import link, make_folder, put

if TYPE_CHECKING:
    from .config import Section

_MACHINES = {3: "i386", 40: "armhf", 62: "amd64", 183: "arm64"}  # e_machine, see elf(5)
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


def architecture(rootfs: Path) -> str | None:
    """The architecture that the container's shell is built for; None: cannot be told."""
    shell = rootfs / "bin/sh"
    if shell.is_symlink() and (target := Path(shell.readlink())).is_absolute():
        shell = rootfs / target.relative_to("/")
    try:
        with shell.open("rb") as file:
            header = file.read(20)
    except OSError:
        return None
    is_elf = header.startswith(b"\x7fELF")
    return _MACHINES.get(int.from_bytes(header[18:20], "little")) if is_elf else None


def ostype(rootfs: Path) -> str:
    """The distribution, as Proxmox names it."""
    try:
        release = (rootfs / "usr/lib/os-release").read_text(encoding="utf-8")
    except OSError:
        return "unmanaged"
    fields = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    name = fields.get("ID", "").strip('"')
    return name if name in {"debian", "ubuntu", "alpine", "fedora", "opensuse"} else "unmanaged"


def systemd_version(rootfs: Path) -> int | None:
    """The version of the container's systemd, from its library's name; None: there is none."""
    found = rootfs.glob("usr/lib/**/systemd/libsystemd-shared-*.so")
    versions = [path.stem.removeprefix("libsystemd-shared-").split("-")[0] for path in found]
    return next((int(text.split(".")[0]) for text in versions if "0" <= text[:1] <= "9"), None)


def personalise(rootfs: Path, section: Section) -> None:
    """Write host name, networks, presets and consoles: at every start, each file anew."""
    put(rootfs, "fastboot", "")
    if (rootfs / "etc/systemd/system").is_dir():
        _systemd(rootfs, int(section.get("tty", "2")))
    nets = [properties(section.get(name)) for name in _NETS if section.get(name)]
    nets = [{"name": "eth0", **net} for net in nets]
    plain = rootfs / "etc/network/.pve-ignore.interfaces"
    if (rootfs / "etc/network").is_dir() and not plain.exists():
        put(rootfs, "etc/network/interfaces", interfaces(_text(plain.parent / "interfaces"), nets))
    else:
        _networkd(rootfs, nets, section.get("nameserver"))
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


def interfaces(text: str, nets: list[dict[str, str]]) -> str:
    """The file of ifupdown with a stanza for each network; all about other names stays."""
    lines: list[str] = []
    ours, inside = {net["name"]: net for net in nets}, False
    for line in text.splitlines():
        words = line.split()
        if inside and words and line[0].isspace():
            if words[0] not in {"address", "netmask", "gateway", "broadcast"}:
                lines.append(line)
            continue
        inside = words[:1] == ["iface"] and words[1] in ours
        lines += _stanza(ours.pop(words[1])) if inside else [line]
    if "auto lo" not in lines:
        lines = ["auto lo", "iface lo inet loopback", "", *lines]
    for name, net in ours.items():
        lines += [*([""] if lines[-1] else []), f"auto {name}", *_stanza(net)]
    return "\n".join(lines) + "\n"


def _stanza(net: dict[str, str]) -> list[str]:
    address, gateway = net.get("ip", "manual"), net.get("gw", "")
    if address in {"dhcp", "manual"}:
        return [f"iface {net['name']} inet {address}"]
    lines = [f"iface {net['name']} inet static", f"\taddress {address}"]
    return [*lines, f"\tgateway {gateway}"] if gateway else lines


def _networkd(rootfs: Path, nets: list[dict[str, str]], nameserver: str) -> None:
    units = rootfs / "etc/systemd/network"
    for net in nets if units.is_dir() else ():
        unit = units / f"{net['name']}.network"
        if not (net.get("ip") == "dhcp" and _asks_dhcp(unit)):
            put(rootfs, str(unit.relative_to(rootfs)), _network(unit.stem, net, nameserver))


def _asks_dhcp(unit: Path) -> bool:
    """Whether the template's own unit does so already: it may say more than we would."""
    return "\nDHCP=" in _text(unit)


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


def _network(name: str, net: dict[str, str], nameserver: str) -> str:
    """A systemd-networkd unit. A static address asks its gateway for names: dnsmasq is there."""
    address, gateway = net.get("ip", "manual"), net.get("gw", "")
    lines = ["[Match]", f"Name={name}", "", "[Network]"]
    if address == "dhcp":
        lines.append("DHCP=yes")
    elif address != "manual":
        lines.append(f"Address={address}")
        lines += [f"Gateway={gateway}"] if gateway else []
        lines += [f"DNS={server}" for server in (nameserver or gateway).split()]
    return "\n".join(lines) + "\n"
