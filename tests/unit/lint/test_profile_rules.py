"""Which profiles are judged, and by which rules."""

from __future__ import annotations

import pytest

from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.source import Kind, Source
from tests.doubles.apparmor.apparmor_parser import compiled

CONF = Source(
    "/etc/pve/lxc/950.conf",
    b"rootfs: local:1\nunprivileged: 1\nlxc.apparmor.profile: lxc-docker\n",
    Kind.CONTAINER,
)


def ids(text: str, *more: Source, name: str = "lxc-docker", base: str = "") -> list[str]:
    source = Source(f"/a/{name}", text.encode(), Kind.PROFILE, base=base)
    return [each.id for each in check([source, *more])]


def test_program_of_debian_with_a_name_alone_is_no_containers_profile() -> None:
    text = (
        "abi <abi/4.0>,\ninclude <tunables/global>\n\n"
        "profile lxc-attach /usr/bin/lxc-attach flags=(unconfined) {\n  userns,\n"
        "  include if exists <local/lxc-attach>\n}\n"
    )
    assert ids(text, name="lxc-attach") == []
    assert ids("profile chrome flags=(unconfined) {\n  userns,\n}\n", name="chrome") == []
    named = 'profile "MongoDB Compass" /usr/bin/mongo flags=(unconfined) {\n  userns,\n}\n'
    assert ids(named, name="MongoDB_Compass") == []
    assert ids("/usr/bin/man flags=(complain) {\n  file,\n}\n", name="usr.bin.man") == []


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("change_profile,", True),
        ("change_profile -> unconfined,", True),
        ("allow change_profile -> {**},", True),
        ('change_profile unsafe /** -> "**",', True),
        ("change_profile -> lxc-*,", False),
        ("deny change_profile -> **,", False),
        ("audit deny change_profile,", False),
    ],
)
def test_change_to_any_profile_is_found(rule: str, *, found: bool) -> None:
    expected = ["profile-change-any"] if found else []
    assert ids(f"profile lxc-docker {{\n  file,\n  {rule}\n}}\n") == expected


@pytest.mark.parametrize("rule", ["all,", "allow all,"])
def test_one_rule_that_allows_all_is_found(rule: str) -> None:
    assert ids(f"profile lxc-docker {{\n  {rule}\n}}\n") == ["profile-allows-everything"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("capability rawio,", "profile-capability-unknown"),
        ("audit capability chown CAP_SYS_ADMIN,", "profile-capability-unknown"),
        ("deny capability sys_rawi,", "profile-capability-unknown"),
        ("capability chown sys_rawio,", "profile-rules-node"),
        ("deny capability sys_rawio,", ""),
        ("capability chown net_admin,", ""),
        ("/proc/sysrq-trigger rwk,", "profile-rules-node"),
        ("owner /dev/sda rwk,", "profile-rules-node"),
        ("/dev/mapper/ r,", ""),
        ("owner /** rwk,", ""),
        ("@{PROC}/sys/kernel/core_pattern w,", "profile-rules-node"),
        ("rwk /dev/sd*,", "profile-rules-node"),
        ("file /{,**/}proc/kcore r,", "profile-rules-node"),
        ("allow /dev/mem rw,", "profile-rules-node"),
        ("/sys/kernel/security/** rwklx,", "profile-rules-node"),
        ("/proc/sysrq-trigger r,", ""),
        ("audit deny /{,**/}sysrq-trigger rwklx,", ""),
        ("deny /proc/kcore rwklx,", ""),
        ("/sys/firmware/** r,", ""),
        ("/dev/fuse rwk,", ""),
        ("/dev/snd/** rwk,", ""),
        ("/srv/dev/memory rw,", ""),
        ("mount options=(rw, rbind) /proc/sysrq-trigger -> /proc/sysrq-trigger,", ""),
    ],
)
def test_rule_by_which_a_container_rules_its_node_is_found(rule: str, expected: str) -> None:
    found = ids(f"profile lxc-docker {{\n  {rule}\n}}\n")
    assert set(found) == ({expected} if expected else set())


@pytest.mark.parametrize("files", ["/** rwk", "/{,**} rwklmix", "allow /{**,} wr"])
def test_rule_of_every_file_allows_as_much_as_file_alone(files: str) -> None:
    others = ("capability", "network", "mount", "ptrace", "signal")
    text = "".join(f"  {each},\n" for each in (files, *others))
    assert ids(f"profile lxc-docker {{\n{text}}}\n") == ["profile-allows-everything"]


def test_wide_rules_with_a_deny_allow_not_everything() -> None:
    wide = "".join(
        f"  {each},\n" for each in ("file", "capability", "network", "ptrace", "signal", "mount")
    )
    assert ids(f"profile lxc-docker {{\n{wide}}}\n") == ["profile-allows-everything"]
    denied = f"profile lxc-docker {{\n{wide}  audit deny /sys/firmware/** r,\n}}\n"
    assert ids(denied) == ["profile-mount-any"]


def test_profile_that_a_container_is_given_is_judged_whatever_it_is_called() -> None:
    given = CONF.content.replace(b"lxc-docker", b"phoenix")
    conf = Source(CONF.path, given, Kind.CONTAINER)
    found = ids("profile phoenix flags=(complain) {\n  file,\n}\n", conf, name="phoenix")
    assert found == ["profile-complain", "profile-not-enterable", "container-profile-not-enterable"]


def test_profile_is_unknown_only_where_all_are_known() -> None:
    other = "include <tunables/global>\nprofile lxc-other {\n  mount,\n}\n"
    assert "profile-unknown" not in ids(other, CONF, name="lxc-other")
    assert "profile-unknown" in ids(other, CONF, name="lxc-other", base="/etc/apparmor.d")
    assert "profile-unknown" in ids(other.replace("lxc-other", "lxc_docker"), CONF, name="x")


def test_tunable_that_a_profile_uses_has_an_effect() -> None:
    tunable = Source("/a/tunables/nesting", b"@{apparmor_nesting_profiles} = x\n", Kind.TUNABLES)
    text = "profile lxc-docker {\n  change_profile -> @{apparmor_nesting_profiles},\n}\n"
    assert ids(text, tunable) == []
    assert ids("profile lxc-docker {\n  file,\n}\n", tunable) == ["tunable-without-effect"]


# -- rules without effect: by the text, and by what apparmor_parser makes of it

COVERED = {
    "mount,": "mount options=(rw, bind) /a -> /b,",
    "umount,": "umount /a/,",
    "remount,": "allow remount /a/,",
    "pivot_root,": "pivot_root /a/,",
    "allow capability,": "capability sys_admin,",
    "network,": "network inet stream,",
    "signal,": "signal (receive) peer=x,",
    "ptrace,": "ptrace (read) peer=x,",
    "unix,": "unix (receive),",
    "dbus,": "dbus send bus=system,",
    "/a r,": "/a r,",
}
OTHERS = {
    "mount,": "audit mount /a -> /b,",
    "network inet,": "network inet6,",
    "umount,": "deny umount /a/,",
    "signal (receive),": "signal (send) peer=x,",
}


def without_effect(rules: str) -> bool:
    return "profile-rule-without-effect" in ids(f"profile lxc-docker {{\n{rules}\n}}\n")


def policy(rules: str) -> bytes:
    return compiled(f"abi <abi/4.0>,\nprofile lxc-docker {{\n{rules}\n}}\n")


@pytest.mark.parametrize(("wide", "narrow"), COVERED.items())
def test_rule_that_another_one_covers_compiles_to_nothing(wide: str, narrow: str) -> None:
    assert without_effect(f"{wide}\n{narrow}")
    assert without_effect(f"{narrow}\n{wide}")
    assert policy(f"{wide}\n{narrow}") == policy(wide)


@pytest.mark.parametrize(("one", "other"), OTHERS.items())
def test_rule_with_an_effect_is_left_alone(one: str, other: str) -> None:
    assert not without_effect(f"{one}\n{other}")
    assert policy(f"{one}\n{other}") != policy(one)
