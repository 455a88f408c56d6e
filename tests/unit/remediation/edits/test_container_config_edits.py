"""Changing a container's configuration: what is set, what is put back, and what stays."""

import pytest

from docker_lxc_gate.formats import container_config
from remediation.edits.container_config import letting_go, put_back, with_lxc_options, with_options

KEYS = ("features", "lxc.apparmor.profile")


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ("arch: x\nfeatures: a", "#1\narch: x", "#1\narch: x\nfeatures: a\n"),
        ("arch: x\r\nfeatures: a\r\n", "arch: x\r\n\r\n", "arch: x\r\nfeatures: a\r\n\r\n"),
        ("a: 1\nb: 1\nfeatures: a\n", "b: 2\na: 1\n\n", "b: 2\na: 1\nfeatures: a\n\n"),
        ("features: a\nb: 1\n", "#1\n\na: 1\nlxc.c: 1\n", "#1\n\nfeatures: a\na: 1\nlxc.c: 1\n"),
        ("features: a\n", "#1\n\n[sn]\nfeatures: b\n", "#1\nfeatures: a\n\n[sn]\nfeatures: b\n"),
        (
            "a: 1\nfeatures: a\nfeatures: b\nb: 1\n",
            "a: 1\nb: 1\nfeatures: ours\n[pve:pending]\nfeatures: c\nb: 2\n",
            "a: 1\nfeatures: a\nfeatures: b\nb: 1\n[pve:pending]\nb: 2\n",
        ),
        (
            "lxc.c: 1\na: 1\nlxc.apparmor.profile: old\nlxc.d: 1\n",
            "a: 1\nlxc.c: 1\nlxc.apparmor.profile: our\nlxc.d: 1\n[sn]\nlxc.apparmor.profile: sn\n",
            "a: 1\nlxc.c: 1\nlxc.apparmor.profile: old\nlxc.d: 1\n[sn]\nlxc.apparmor.profile: sn\n",
        ),
        (
            "lxc.include = n\nlxc.apparmor.profile = old\nlxc.include = n\n",
            "lxc.include = n\nlxc.include = n\nlxc.apparmor.profile = ours\n",
            "lxc.include = n\nlxc.apparmor.profile = old\nlxc.include = n\n",
        ),
    ],
)
def test_some_keys_are_put_back_to_where_they_were(before: str, text: str, after: str) -> None:
    assert put_back(text, before, KEYS) == after
    assert put_back(after, before, KEYS) == after


def test_of_mount_entries_those_that_give_fuse_are_put_back() -> None:
    other = "lxc.mount.entry = /srv srv none bind\n"
    added = with_lxc_options(other, {})
    assert put_back(added, other, (), lxc=True, fuse=True) == other
    assert put_back(added, other, ()) == added
    own = f"lxc.mount.entry = /dev/fuse dev/fuse none bind,optional\n{other}"
    assert put_back(added, own, (), lxc=True, fuse=True) == own


def test_put_back_an_indented_option_of_plain_lxc_is_as_it_was() -> None:
    before = "lxc.x = 1\n  lxc.apparmor.profile = own\nlxc.y = 1\n"
    changed = with_lxc_options(before, {"lxc.apparmor.profile": "ours"})
    assert "own" not in changed
    assert put_back(changed, before, KEYS, lxc=True, fuse=True) == before


@pytest.mark.parametrize("line", ["features : nesting=1", "features = fuse=1", " features: fuse=1"])
def test_with_options_what_proxmox_does_not_read_is_no_option(line: str) -> None:
    assert with_options(f"{line}\n", {"fuse": "1"}, {}) == f"{line}\nfeatures: fuse=1\n"


def test_with_options_below_a_header_that_is_none_a_line_is_in_effect() -> None:
    text = "arch: amd64\n[2024-backup]\nfeatures: fuse=1\n[pre]\nfeatures: fuse=0\n"
    assert with_options(text, {"fuse": "1"}, {}) == text
    changed = with_options(text, {"nesting": "1"}, {})
    assert changed == text.replace("features: fuse=1", "features: fuse=1,nesting=1")


def test_with_options_what_says_the_same_stays_as_it_is_written() -> None:
    text = "features: nesting=yes,keyctl=On,fuse=TRUE,mknod=no\n"
    wanted = {"nesting": "1", "keyctl": "1", "fuse": "1"}
    assert with_options(text, wanted, {}) == text
    changed = with_options(text.replace("On", "off"), wanted, {})
    assert changed == "features: nesting=yes,keyctl=1,fuse=TRUE,mknod=no\n"


NOW = "features: nesting=1,keyctl=1,fuse=1\nlxc.apparmor.profile: ours\nlxc.include: /x\n"


def test_letting_go_names_what_is_pending_and_the_way() -> None:
    text = f"{NOW}[pve:pending]\ndelete: net0\nfeatures: nesting=1\n"
    assert letting_go(container_config.parse("950.conf", text), 950) == (
        "950.conf holds 'delete: net0' (line 5); 'features: nesting=1' (line 6) in [pve:pending]. "
        "To drop it: pct set 950 --revert net0,features"
    )
    raw = letting_go(container_config.parse("", f"{NOW}[pve:pending]\nlxc.include: /y\n"), 950)
    assert raw.endswith("To drop it: delete the lxc.* lines of its section [pve:pending]")
