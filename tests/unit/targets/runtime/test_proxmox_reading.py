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
def test_features_error_a_value_that_proxmox_parses_has_none(value: str) -> None:
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
def test_features_error_is_in_pcts_words(value: str, said: str) -> None:
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
def test_today_is_what_lxc_calls_a_former_key(key: str, name: str) -> None:
    assert proxmox.today(key) == name
    assert proxmox.keeps(key)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("arch : amd64", "no option: there is a blank before the colon; the next stop"),
        ("lxc.x : y", "no option: there is a blank before the colon"),
        ("arch = amd64", "no option: only lxc.* keys may be followed by '='"),
        (" arch: amd64", "no option: there are blanks before it"),
        ("\t# x", "no option: a comment has its # in the first column"),
        ("lxc.nosuch: x", "no option: lxc.nosuch is none of the keys that Proxmox hands on"),
        ("delete: net0", "no option: delete has a meaning in [pve:pending] only"),
        ("nesting 1", "no option; the next stop or pct set deletes it"),
        ("[2024-backup]", "The lines below it are in effect, the last assignment wins"),
    ],
)
def test_unreadable_says_why_and_what_becomes_of_the_line(line: str, said: str) -> None:
    assert said in proxmox.unreadable(line)
    assert "the next stop or pct set deletes" in proxmox.unreadable(line).replace("\n", " ")
