"""The rules that are suggested for mounts, compared with what AppArmor's own parser compiles."""

import itertools

import pytest

from docker_lxc_gate.facts.denial.denial_answers import rule
from tests.doubles.apparmor.compiled_policy import (
    allows_mount,
    allows_pivot,
    allows_umount,
    policy_of,
)
from tests.doubles.apparmor.denials import denial

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
