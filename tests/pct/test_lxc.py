"""LXC's configuration, against the two that the real pct generated."""

import pytest

from docker_lxc_gate.lab.guest.pct import lxc
from docker_lxc_gate.lab.guest.pct.config import parse

from .cases import ALL

CURRENT = ALL["file after set"].stdout.replace("keyctl=1", "keyctl=1,fuse=1")
ROOTFS = "/var/lib/vz/images/200/subvol-200-disk-0.subvol"

# Proxmox's line: ours. Nothing else may differ, nor the order.
ALLOWED = {
    "lxc.include = /usr/share/lxc/config/debian.common.conf": (
        "lxc.include = /usr/share/lxc/config/common.conf"
    ),
    "lxc.include = /usr/share/lxc/config/debian.userns.conf": (
        "lxc.include = /usr/share/lxc/config/userns.conf"
    ),
    "lxc.rootfs.path = /var/lib/lxc/200/rootfs": f"lxc.rootfs.path = {ROOTFS}",
    "lxc.net.0.script.up = /usr/share/lxc/lxcnetaddbr": "lxc.net.0.link = lxcbr0",
}


@pytest.mark.parametrize(
    ("name", "raw", "overridden"),
    [
        ("generated profile", "", ""),
        (
            "named profile",
            "lxc.apparmor.profile: lxc-phoenix-v2\n",
            ALL["start: named profile overrides features"].stdout,
        ),
    ],
)
def test_generate_writes_the_same_lines_as_proxmox(name: str, raw: str, overridden: str) -> None:
    recorded = ALL[f"generated lxc configuration: {name}"].stdout.splitlines()
    assert set(ALLOWED) < set(recorded)
    section = parse("200", CURRENT + raw)[0].current
    text, warning = lxc.generate("200", section, ROOTFS)
    assert text.splitlines() == [ALLOWED.get(line, line) for line in recorded]
    assert warning == overridden
