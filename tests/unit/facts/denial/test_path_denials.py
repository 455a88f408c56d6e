"""Rules of mounts, compared with the compiled policy, which is asked as a kernel asks it.

The rule that is suggested allows what was denied, and a deny rule forbids what it says it does.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.facts.denial import profile_text
from docker_lxc_gate.facts.denial.denial_answers import forbidding_rules, rule
from tests.doubles.apparmor.compiled_policy import (
    allows_mount,
    allows_pivot,
    allows_umount,
    policy_of,
)
from tests.doubles.apparmor.denials import denial

if TYPE_CHECKING:
    from pathlib import Path

#: Names that a process may have chosen; what a profile would take for a pattern among them.
NAMES = ("/a/", "/a b/", r"/a\x41/", "/a{b,c}/", "/[a]/**", "/a,/", "/a!b", "/a#b", "/é/", "/a\\")
CHANGES = [
    f"{recursive}{each}"
    for each in ("private", "slave", "shared", "unbindable")
    for recursive in ("", "r")
]
OPTIONS = [
    *("nosuid", "nodev", "noexec", "sync", "mand", "dirsync", "noatime", "nodiratime", "silent"),
    *("acl", "relatime", "strictatime"),
]


def written(key: str, value: str) -> str:
    plain = value.isascii() and value.isprintable() and not set(value) & set(' "')
    return f'{key}="{value}"' if plain else f"{key}={value.encode().hex().upper()}"


def mounted(name: str, source: str, fstype: str, flags: str) -> str:
    said = [("name", name), ("srcname", source), ("fstype", fstype)]
    words = " ".join(written(key, value) for key, value in said if value)
    return f'operation="mount" {words} flags="{flags}"'


#: What is mounted, from what and of which type, as the kernel asks for each kind of mount.
ATTEMPTS = [
    *(("/a/", "", "", f"rw, {change}") for change in CHANGES),
    *(("/a/", "/s/", "", f"rw, {flag}") for flag in ("bind", "rbind", "move")),
    *(("/a/", "", "", f"{one}, {flag}, remount") for one in ("ro", "rw") for flag in OPTIONS),
    *(("/a/", "tmpfs", "tmpfs", f"rw, {one}, {two}") for one, two in itertools.pairwise(OPTIONS)),
    *(("/a/", "/dev/sda1", "ext4", one) for one in ("ro", "rw")),
    ("/a/", "", "", "ro, nosuid, remount, bind"),
    ("/a/", "", "", "rw, move"),
    *((name, name, "", "rw, bind") for name in NAMES),
    *((name, name, "fuse.x", "rw, nosuid, nodev") for name in NAMES),
]


@pytest.mark.parametrize(("name", "source", "fstype", "flags"), ATTEMPTS)
def test_rule_of_a_mount_allows_it_and_neither_another_place_nor_another_flag(
    name: str, source: str, fstype: str, flags: str
) -> None:
    policy = policy_of(rule(denial(mounted(name, source, fstype, flags), "p")))
    assert allows_mount(policy, name, source, fstype, flags)
    assert not allows_mount(policy, "/x" + name, source, fstype, flags)
    assert not allows_mount(policy, name, source, fstype, f"{flags}, iversion")
    assert not allows_umount(policy, name)


@pytest.mark.parametrize("name", NAMES)
def test_rule_of_an_unmount_or_a_new_root_allows_that_place_alone(name: str) -> None:
    policy = policy_of(rule(denial(f'operation="umount" {written("name", name)}')))
    assert allows_umount(policy, name)
    assert not allows_umount(policy, name + "x")
    new = f'operation="pivotroot" {written("name", name)} {written("srcname", name)}'
    policy = policy_of(rule(denial(new)))
    assert allows_pivot(policy, name, name)
    assert not allows_pivot(policy, name, "/x")
    assert not allows_pivot(policy, "/x", name)


RULES = """\
deny mount
audit deny mount -> /[ab]/
deny mount fstype=ext4
deny mount fstype=(ext4, xfs)
deny mount fstype=fuse*
deny mount fstype=*
deny mount fstype="ext4"
deny mount fstype=ext4 options in (ro)
deny mount fstype=tmpfs options=(rw,nosuid,nodev) tmpfs -> /a/
deny mount options=(rw,nosuid) fstype=tmpfs
deny mount options=(rw)
deny mount options=(ro)
deny mount options=(ro, noatime) -> /**/
deny mount options=ro /dev/sda1 -> /a/
deny mount options in (rw,nosuid,nodev)
deny mount options in (rw,bind,rbind,nosuid) -> /a/
deny mount options in (nodev,rprivate) -> /**
deny mount options=bind
deny mount options=(rw,bind)
deny mount options=(nosuid,bind)
deny mount options=(rbind)
deny mount options=move
deny mount options in (move) fstype=*
deny mount options=(rw,rslave) -> /**
deny mount options=(rw,make-rslave) -> /**
deny mount options=(rw, make-private)
deny mount options=remount
deny mount options=(ro,remount,bind) -> /a/
deny mount -> /a/
deny mount -> /a/**
deny mount -> /a{,/**}
deny mount -> /{a,b}/
deny mount -> /?/
deny mount /s/
deny mount /s/ -> /a/
deny mount /dev/** -> /**
deny remount
deny remount /a/
deny remount options=ro /a/
deny remount options in (ro,nosuid)
deny umount
deny umount /a/
deny umount /a/**
""".splitlines()
#: Where, what, of which type, and how it was to be mounted.
DENIED = [
    *(("/a/", "", "", f"rw, {change}") for change in ("slave", "rslave", "private", "rshared")),
    *(("/a/", "/s/", "", f"rw, {flag}") for flag in ("bind", "rbind", "move")),
    *(("/a/", "", "", flags) for flags in ("ro, remount", "rw, nosuid, remount")),
    ("/a/", "", "", "ro, remount, bind"),
    ("/a/", "tmpfs", "tmpfs", "rw, nosuid"),
    ("/a/", "tmpfs", "tmpfs", "rw, nosuid, nodev"),
    ("/a/", "/dev/sda1", "ext4", "ro"),
    ("/a/", "/dev/sda1", "ext4", "rw"),
    ("/b/", "/dev/sda1", "ext4", "rw"),
    ("/a/b/", "x", "fuse.x", "rw, nosuid"),
    ("/c/", "x", "xfs", "ro, noatime"),
    ("/", "/s/", "", "rw, bind"),
]


@pytest.mark.parametrize("text", RULES)
def test_deny_rule_forbids_what_the_kernel_refuses_because_of_it(tmp_path: Path, text: str) -> None:
    kernel = policy_of(f"mount,\numount,\nremount,\n{text},")
    (tmp_path / "p").write_text(f"profile p {{\n  {text},\n}}\n")
    policy = profile_text.read(tmp_path / "p", [])

    def forbidden(operation: str, **fields: str) -> bool:
        words = " ".join(f'{key}="{value}"' for key, value in fields.items() if value)
        denied = denial(f'operation="{operation}" {words}', "p")
        return bool(forbidding_rules(policy, denied.fields))

    for name, source, fstype, flags in DENIED:
        said = forbidden("mount", name=name, srcname=source, fstype=fstype, flags=flags)
        allowed = allows_mount(kernel, name, source, fstype, flags)
        assert said is not allowed, (name, source, fstype, flags)
    for name in ("/a/", "/a/b/", "/c/"):
        assert forbidden("umount", name=name) is not allows_umount(kernel, name), name
