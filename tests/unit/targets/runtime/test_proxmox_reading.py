"""How strictly Proxmox reads: values of features, names of before LXC 3, and what is no line."""

from __future__ import annotations

import pytest

from targets.runtime import proxmox

_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "nesting=1,keyctl=1,fuse=1",
        "nesting=Yes,,keyctl=off,force_rw_sys=FALSE,mknod=on",
        "mount=nfs;cifs,fuse=0",
    ],
)
def test_features_error_of_a_value_that_proxmox_parses_is_none(value: str) -> None:
    assert proxmox.features_error(value) == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nesting=1,fusion=1", f"format error: fusion: {_UNKNOWN}"),
        (
            "fuse=2,a=1",
            f"format error: a: {_UNKNOWN}; fuse: type check ('boolean') failed - got '2'",
        ),
        ("mount=/dev", "format error: mount: value does not match the regex pattern"),
        ("nesting", "value without key, but schema does not define a default key"),
        ("nesting=", "missing key in comma-separated list property"),
        ("=1", "missing key in comma-separated list property"),
        ("fuse=1,fuse=1", "duplicate key in comma-separated list property: fuse"),
        ("fuse =1", f"format error: fuse : {_UNKNOWN}"),
    ],
)
def test_features_error_of_a_value_that_pct_refuses_is_in_pcts_words(value: str, said: str) -> None:
    assert proxmox.features_error(value) == f"unable to parse value of 'features' - {said}"


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
