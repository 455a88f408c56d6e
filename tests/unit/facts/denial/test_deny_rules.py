"""Rules, deny rules and patterns, compared with what AppArmor's own parser compiles.

The rule that is suggested allows what was denied, a deny rule forbids what it says it does, and a
pattern matches what a kernel matches.
"""

import itertools
import os
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit.audit_records import parse
from docker_lxc_gate.facts.denial import profile_text
from docker_lxc_gate.facts.denial.denial_answers import forbidding_rules, rule
from docker_lxc_gate.facts.denial.profile_text import matches
from tests.doubles.apparmor.apparmor_parser import compiled
from tests.doubles.apparmor.compiled_policy import (
    allows_mount,
    allows_pivot,
    allows_reading,
    allows_umount,
    files_of,
    policy_of,
)
from tests.doubles.apparmor.denials import denial
from tests.doubles.naming import naming
from tests.doubles.samples import sample

AVC = 'apparmor="DENIED" profile="p" pid=7 '


def forbids(tmp_path: Path, text: str, record: str) -> list[str]:
    file = tmp_path / "profile"
    file.write_text(f"abi <abi/4.0>,\nprofile p {{\n{text}\n}}\nprofile q {{ deny file, }}\n")
    (denial,) = parse(AVC + record)
    return [each.text for each in forbidding_rules(profile_text.read(file, []), denial.fields)]


def of_file(name: str = "/proc/kcore", mask: str = "r", more: str = "") -> str:
    return f'operation="open" class="file" name="{name}" denied_mask="{mask}" {more}'


CAPABLE = 'operation="capable" capname="sys_admin"'
TRACED = 'operation="ptrace" denied_mask="read" peer="unconfined"'
KILLED = 'operation="signal" denied_mask="send" signal=term peer="unconfined"'
SOCKET = 'operation="create" family="inet" sock_type="raw" denied_mask="create"'
MOUNTED = 'operation="mount" name="/mnt/" fstype="ext4" srcname="/dev/sda" flags="ro, nosuid"'
CHANGED = 'operation="change_profile" name="unconfined"'
STACKED = 'operation="stack" name="q" target="q"'

#: A deny rule, what was denied, and whether the rule forbids it.
FILES = [
    ("deny /proc/kcore r", of_file(), True),
    ("audit deny /{,**/}proc/kcore rwklx", of_file(), True),
    ("deny @{PROC}/kcore rw", of_file(), True),
    ("deny /proc/* w", of_file(), False),
    ("deny /proc/* w", of_file(mask="c"), True),
    ("deny owner /x r", of_file("/x", more="fsuid=1 ouid=1"), True),
    ("deny owner /x r", of_file("/x", more="fsuid=1 ouid=0"), False),
    ("deny capability sys_admin", CAPABLE, True),
    ("deny capability", CAPABLE, True),
    ("deny capability sys_module sys_time", CAPABLE, False),
    ("deny ptrace", TRACED, True),
    ("deny ptrace (trace)", TRACED, False),
    ("deny ptrace (read, trace) peer=unconfined", TRACED, True),
    ("deny ptrace read peer=q", TRACED, False),
    ("deny ptrace read peer={q,{r,un}confined}", TRACED, True),
    ("deny signal (send) set=(term, kill)", KILLED, True),
    ("deny signal (send) set=(kill)", KILLED, False),
    ("deny network inet raw", SOCKET, True),
    ("deny network raw", SOCKET, True),
    ("deny network inet6", SOCKET, False),
    ("deny network", SOCKET, True),
]
#: Of mounts, see below: those are compared with the compiled policy.
OTHERS = [
    ("deny file", of_file(), True),
    ("deny pivot_root /a/", 'operation="pivotroot" name="/a/"', True),
    ("deny change_profile", CHANGED, True),
    ("deny change_profile -> {unconfined,q}", CHANGED, True),
    ("deny change_profile -> q", CHANGED, False),
    ("deny change_profile", STACKED, True),
    ("deny change_profile -> &q", STACKED, True),
    ("deny change_profile -> q", STACKED, False),
    ("deny userns", 'operation="userns_create" denied="userns_create"', True),
    ("deny io_uring sqpoll", 'operation="uring_sqpoll" denied="sqpoll"', True),
    ("deny io_uring override_creds", 'operation="uring_sqpoll" denied="sqpoll"', False),
    ("deny mqueue type=posix /q", 'operation="open" class="posix_mqueue" name="/q"', True),
    ("deny mqueue (read) /q", 'operation="open" class="posix_mqueue" denied="create"', False),
    ("deny dbus (send) bus=system", 'operation="dbus_x" bus="system" mask="send"', True),
    ("deny dbus (send) bus=session", 'operation="dbus_x" bus="system" mask="send"', False),
    ("deny dbus send peer=(name=org.x)", 'operation="dbus_x" name="org.x" mask="send"', True),
    ("deny set rlimit nofile <= 1", 'operation="setrlimit" rlimit=nofile', True),
    ("deny link /a -> /b", 'operation="link" name="/a" target="/b" denied_mask="l"', True),
    ("deny unix peer=(label=q)", 'operation="connect" family="unix" peer="q"', True),
    ("deny unix peer=(label=q)", 'operation="connect" family="unix" peer="r"', False),
    ("deny all", MOUNTED, True),
]


@pytest.mark.parametrize(("text", "record", "expected"), [*FILES, *OTHERS])
def test_forbidding_rules_of_a_rule_are_whether_it_denies_that(
    text: str, record: str, expected: bool, tmp_path: Path
) -> None:
    variables = "" if "@" not in text else "#include <tunables/proc>\n"
    (tmp_path / "tunables").mkdir()
    (tmp_path / "tunables/proc").write_text("@{PROC}=/proc/\n")
    found = forbids(tmp_path, f"{variables}  file, {text},", record)
    assert found == ([text] if expected else [])


@pytest.mark.parametrize(("text", "record", "expected"), FILES)
def test_forbidding_rules_are_as_the_parsers_policy(text: str, record: str, expected: bool) -> None:
    """Where a deny forbids it, the rule that would allow it changes nothing in the policy."""
    (denial,) = parse(AVC + record)
    before = f"abi <abi/4.0>,\n@{{PROC}}=/proc/\nprofile p {{\n /x/y r,\n {text},\n"
    without, with_rule = compiled(before + "}\n"), compiled(f"{before} {rule(denial)}\n}}\n")
    assert (without == with_rule) == expected


def test_read_follows_includes_and_names_those_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/one").write_text("deny /x r, # a comment, with a comma\n")
    file = tmp_path / "profile"
    file.write_text(
        "include <nothing/here>\ninclude if exists <nor/here>\n"
        "profile p flags=(attach_disconnected)\n{\n  #include <d>\n  # deny /y r,\n  deny\n"
        "   /z{a,b} r,\n  profile child { deny /c r, }\n  ^hat { /h r, }\n  /d r,\n}\n"
        'profile "a b" {\n /e r,\n}\n'
    )
    policy = profile_text.read(file, [])
    assert policy.missing == ["nothing/here"]
    said = [(each.profile, each.text, each.line) for each in policy.rules]
    assert said == [
        ("p", "deny /x r", 1),
        ("p", "deny /z{a,b} r", 7),
        ("p//child", "deny /c r", 9),
        ("p//hat", "/h r", 10),
        ("p", "/d r", 11),
        ("a b", "/e r", 14),
    ]


def test_forbidding_rule_of_a_child_profile_is_found_by_the_kernels_name(tmp_path: Path) -> None:
    child = "profile child { deny /proc/kcore r, }"
    assert forbids(tmp_path, child, of_file(more='profile="p//child"')) == []
    file = tmp_path / "profile"
    (denial,) = parse(AVC.replace('profile="p"', 'profile="p//child"') + of_file())
    said = [each.text for each in forbidding_rules(profile_text.read(file, []), denial.fields)]
    assert said == ["deny /proc/kcore r"]


def test_read_of_a_directory_leaves_out_what_the_parser_skips(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("own", "own.dpkg-old", "own~", ".own", "README"):
        (tmp_path / "d" / name).write_text(f"deny /{name} r,\n")
    (tmp_path / "profile").write_text("profile p {\n  include <d>\n}\n")
    policy = profile_text.read(tmp_path / "profile", [])
    assert [each.text for each in policy.rules] == ["deny /own r"]


def test_read_of_an_included_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for name in ("fifo", "link"):
        (tmp_path / "profile").write_text(f"profile p {{\n  include <{name}>\n}}\n")
        with naming(FactError, tmp_path / name, "no regular file"):
            profile_text.read(tmp_path / "profile", [])


def test_read_of_a_file_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with naming(FactError, tmp_path / "nothing", "No such file"):
        profile_text.read(tmp_path / "nothing", [])
    (tmp_path / "loop").write_text("include <loop>\n")
    assert profile_text.read(tmp_path / "loop", []).rules == []
    (tmp_path / "loop").write_text("include <loop>\ninclude <loop>\n")
    with naming(FactError, tmp_path / "loop"):
        profile_text.read(tmp_path / "loop", [])


def test_read_of_files_that_are_together_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("#" * (1 << 20))
    (tmp_path / "profile").write_text("include <large>\n" * 4)
    with naming(FactError, tmp_path / "large", "4 MiB"):
        profile_text.read(tmp_path / "profile", [])


def test_pattern_with_variables_has_their_values_unless_it_gets_too_long() -> None:
    variables = {"a": ["x" * 5000], "b": ["@{a}" * 1000], "c": ["@{d}/y", "z"], "d": ["w"]}
    policy = profile_text.Policy(variables=variables)
    assert policy.expanded("/@{c}/@{e}") == "/{w/y,z}/@{e}"
    assert policy.expanded("/@{b}") == "/" + "@{a}" * 1000


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


RULES = sample("denials/deny_rules.txt").splitlines()
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


PATTERNS = sample("denials/patterns.txt").splitlines()
NAMES = [
    *("/", "/a", "/a/", "/b", "/ab", "/ax", "/bx", "/cx", "/aab", "/axb", "/c", "/[", "/]", "/^"),
    *("/a/a", "/a/b", "/a/b/", "/a/.b", "/a/xb", "/b/x", "/x/b", "/a/\n", "/a\nb", "/é", "/aé"),
    *("/a/b/c", "/a/bb/c", "/a/c/d/c", "/a/b/d", "/a/bx/d", "/a/cx/d"),
    *("/a b", "/a*", "/a{b", "/a,b", "/a.b", "/a+b"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern_matches_what_the_kernel_matches(pattern: str) -> None:
    files = files_of(f"{pattern} r,")
    ours = [name for name in NAMES if matches(pattern, name)]
    assert ours == [name for name in NAMES if allows_reading(files, name)]
