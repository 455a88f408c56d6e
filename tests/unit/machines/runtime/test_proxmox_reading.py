"""How strictly Proxmox reads: names of before LXC 3, and what is no line."""

from __future__ import annotations

import pytest

from docker_lxc_gate.formats import proxmox


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("lxc.aa_profile", "lxc.apparmor.profile"),
        ("lxc.limit.nofile", "lxc.prlimit.nofile"),
        ("lxc.network.ipv4", "lxc.net.INDEX.ipv4.address"),
        ("lxc.network.ipv6.gateway", "lxc.net.INDEX.ipv6.gateway"),
        ("lxc.network.script.up", "lxc.net.INDEX.script.up"),
        ("lxc.apparmor.profile", ""),
        ("lxc.net.0.link", ""),
    ],
)
def test_today_of_a_former_key_is_what_lxc_calls_it_now(key: str, name: str) -> None:
    assert proxmox.today(key) == name
    assert proxmox.keeps(key)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("arch : amd64", "blank before the colon"),
        ("lxc.x : y", "blank before the colon"),
        ("arch = amd64", "'='"),
        (" arch: amd64", "blanks before it"),
        ("\t# x", "comment"),
        ("lxc.nosuch: x", "lxc.nosuch"),
        ("delete: net0", "[pve:pending]"),
        ("nesting 1", "pct set"),
        ("[2024-backup]", "lines below it"),
    ],
)
def test_unreadable_names_the_cause_and_who_deletes_the_line(line: str, named: str) -> None:
    assert named in proxmox.unreadable(line)
    assert "pct set" in proxmox.unreadable(line)
