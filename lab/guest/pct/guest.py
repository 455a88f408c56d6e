"""What Proxmox reads from a container's root file system, and what it writes into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .config import properties
from .files import put

if TYPE_CHECKING:
    from .config import Section

_MACHINES = {3: "i386", 40: "armhf", 62: "amd64", 183: "arm64"}  # e_machine, see elf(5)
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
    return next((int(text.split(".")[0]) for text in versions if text[:1].isdigit()), None)


def personalise(rootfs: Path, section: Section) -> None:
    """Write the host name and the networks, as at every start."""
    hostname = section.get("hostname")
    put(rootfs, "etc/hostname", f"{hostname}\n")
    put(rootfs, "etc/hosts", _hosts(rootfs / "etc/hosts", hostname))
    units = rootfs / "etc/systemd/network"
    for index in range(10):
        net = properties(section.get(f"net{index}"))
        unit = units / f"{net.get('name', f'eth{index}')}.network"
        if net and units.is_dir() and not (net.get("ip") == "dhcp" and _asks_dhcp(unit)):
            text = _network(unit.stem, net, section.get("nameserver"))
            put(rootfs, str(unit.relative_to(rootfs)), text)


def _asks_dhcp(unit: Path) -> bool:
    """Whether the template's own unit does so already: it may say more than we would."""
    plain = unit.is_file() and not unit.is_symlink()
    return plain and "\nDHCP=" in unit.read_text(encoding="utf-8")


def _hosts(path: Path, hostname: str) -> str:
    """The file with our own lines replaced, or added at the end."""
    block = f"{_BEGIN}127.0.1.1 {hostname}\n{_END}"
    if path.is_symlink() or not path.is_file():
        return f"127.0.0.1 localhost\n::1 localhost\n{block}"
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
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
