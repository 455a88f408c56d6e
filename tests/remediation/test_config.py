"""Reading a container's configuration: what is in effect, what is not, and what it grants."""

from __future__ import annotations

import pytest

from remediation import config

TEXT = """\
# features: nesting=1

arch: amd64
features: nesting=1,keyctl=1
lxc.apparmor.profile = one
lxc.apparmor.profile: two
no option
lxc.mount.entry: /dev/fuse
[pre]
arch: i386
lxc.apparmor.profile: three
"""


def test_what_is_in_effect_and_what_is_not() -> None:
    found = config.parse("950.conf", TEXT)
    assert found.path == "950.conf"
    assert found.current() == {
        "arch": "amd64",
        "features": "nesting=1,keyctl=1",
        "lxc.apparmor.profile": "two",
        "lxc.mount.entry": "/dev/fuse",
    }
    assert [(o.value, o.line) for o in found.all("lxc.apparmor.profile")] == [
        ("one", 5),
        ("two", 6),
    ]
    assert [(o.value, o.section) for o in found.elsewhere("lxc.apparmor.profile")] == [
        ("three", "pre")
    ]
    assert found.elsewhere("features") == ()
    assert found.unreadable == ((7, "no option"),)


@pytest.mark.parametrize("line", ["[pre", "pre]", "9lives: 1", ": 1", "[]"])
def test_a_line_that_is_neither(line: str) -> None:
    assert config.parse("", f"{line}\narch: amd64\n").unreadable == ((1, line),)
    assert config.parse("", f"{line}\narch: amd64\n").current() == {"arch": "amd64"}


def test_a_section_may_be_followed_by_blanks_and_an_indented_comment_is_one() -> None:
    found = config.parse("", "[pve:pending] \n  # x\n   \narch:amd64  \n")
    assert found.unreadable == ()
    assert found.options == (config.Option("arch", "amd64", 4, "pve:pending"),)


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("2\ndenylist\nkeyctl errno 38\n", True),
        ("2\ndenylist\nmount\n\n", False),
        ("2\nallowlist\nkeyctl\n", False),
        ("2\nwhitelist\nkeyctl\n", False),
        ("2\nallowlist\nmount\n", True),
        ("2\nwhitelist\nread\n", True),
        ("2\ndenylist\nread keyctl\n", False),
        ("2\nallowlist trap\nkeyctl\n", False),
        ("", False),
    ],
)
def test_keyrings(text: str, refuses: bool) -> None:
    assert config.refuses_keyrings(text) is refuses


@pytest.mark.parametrize(
    ("value", "gives"),
    [
        ("/dev/fuse dev/fuse none bind 0 0", True),
        ("/dev/fuse /dev/fuse none bind", True),
        ("/dev/fuse dev/fuse none", False),
        ("/dev/fuse", False),
        ("/dev/fuse dev/fuse2 none bind", False),
        ("/dev/fuse srv/dev/fuse none bind", False),
        ("/dev/fuse Xdev/fuse none bind", False),
    ],
)
def test_what_gives_fuse(value: str, gives: bool) -> None:
    assert config.gives_fuse(config.Option("lxc.mount.entry", value, 1)) is gives


def test_what_a_mount_entry_lacks() -> None:
    assert config.missing_fields("") == ("source", "target", "type", "options")
    assert config.Option("a", "b", 1) == config.Option("a", "b", 1, "")


NESTING, KEYCTL, FUSE = "nesting", "keyctl", "fuse"


@pytest.mark.parametrize(
    ("text", "seccomp", "given"),
    [
        ("", "", {KEYCTL}),
        ("lxc.apparmor.allow_nesting = 1", "", {NESTING, KEYCTL}),
        ("lxc.apparmor.allow_nesting = 0", "", {KEYCTL}),
        ("lxc.apparmor.profile = generated", "", {KEYCTL}),
        ("lxc.apparmor.profile = lxc-container-default", "", {KEYCTL}),
        ("lxc.apparmor.profile = lxc-container-default-cgns", "", {KEYCTL}),
        ("lxc.apparmor.profile = lxc-container-default-with-nesting", "", {NESTING, KEYCTL}),
        ("lxc.apparmor.profile = lxc-phoenix-v2", "", {NESTING, KEYCTL}),
        ("", "2\ndenylist\nkeyctl errno 38\n", set()),
        (f"lxc.mount.entry = {config.FUSE_ENTRY}", "", {KEYCTL, FUSE}),
        ("lxc.mount.entry = /a b none bind", "", {KEYCTL}),
    ],
)
def test_what_plain_lxc_grants(text: str, seccomp: str, given: set[str]) -> None:
    found = config.granted(config.parse("", text), seccomp)
    assert found == dict.fromkeys(given, "1")


def test_features() -> None:
    assert config.features("") == {}
    assert config.features("nesting=1,mount=nfs;cifs,keyctl=0,,x") == {
        "nesting": "1",
        "mount": "nfs;cifs",
        "keyctl": "0",
        "x": "",
    }
