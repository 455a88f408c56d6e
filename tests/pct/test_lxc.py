"""LXC's configuration, against the two that the real pct generated."""

from __future__ import annotations

import pytest

from lab.guest.pct import lxc
from lab.guest.pct.config import Section, parse
from lab.guest.pct.errors import PctError

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


def section(extra: str = "", features: str = "nesting=1,keyctl=1,fuse=1") -> Section:
    text = CURRENT.replace("nesting=1,keyctl=1,fuse=1", features) + extra
    return parse("200", text)[0].current


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
    text, warning = lxc.generate("200", section(raw), ROOTFS, cpus=2)
    assert text.splitlines() == [ALLOWED.get(line, line) for line in recorded]
    assert warning == overridden


def test_generate_without_nesting_denies_mounts_on_proc_and_sys() -> None:
    text, _ = lxc.generate("200", section(features="keyctl=1"), ROOTFS, cpus=2)
    assert "lxc.apparmor.raw = deny mount -> /proc/,\n" in text
    assert "allow_nesting" not in text
    assert "/dev/fuse" not in text


def test_generate_with_a_mount_entry_cut_short_keeps_it() -> None:
    text, _ = lxc.generate("200", section("lxc.mount.entry: /dev/fuse\n"), ROOTFS, cpus=2)
    assert text.endswith("lxc.mount.entry = /dev/fuse\n")


def test_generate_with_an_include_after_the_profile_keeps_the_order() -> None:
    raw = "lxc.apparmor.profile: lxc-a\nlxc.include: /usr/share/lxc/config/nesting.conf\n"
    text, _ = lxc.generate("200", section(raw), ROOTFS, cpus=2)
    assert text.splitlines()[-2:] == [line.replace(": ", " = ") for line in raw.splitlines()]


@pytest.mark.parametrize(("features", "refused"), [("nesting=1", True), ("keyctl=1", False)])
def test_seccomp_refuses_keyctl_unless_it_is_wanted(features: str, *, refused: bool) -> None:
    rules = lxc.seccomp(section(features=features), "2\ndenylist\n[all]\nkexec_load errno 1\n")
    assert rules.endswith("keyctl errno 38\n") is refused


def test_generate_for_a_privileged_container_has_no_idmap() -> None:
    privileged = section().with_keys(unprivileged="0")
    text, _ = lxc.generate("200", privileged, ROOTFS, cpus=2)
    assert "lxc.idmap" not in text
    assert "userns.conf" not in text


def test_require_supported_names_what_it_cannot_do() -> None:
    with pytest.raises(PctError) as refused:
        lxc.require_supported(section("mp0: /a,mp=/a\n", features="mknod=1"))
    assert {"features:mknod", "mp0"} <= {*str(refused.value).replace(",", "").split()}
