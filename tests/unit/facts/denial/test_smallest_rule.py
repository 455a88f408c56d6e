"""The rule that is advised allows what was denied, and nothing that its name was made for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.audit.audit_records import Denial, parse
from facts.denial.smallest_rule import NoRule, rule, smallest_rule
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.examples import examples
from tests.doubles.naming import naming

AVC = 'apparmor="DENIED" profile="lxc-phoenix-v2" pid=7 '
MOUNT = (
    'operation="mount" class="mount" info="failed flags match" error=-13 '
    'name="/var/lib/docker/fuse-overlayfs/ab/merged/" comm="dockerd" flags="rw, rbind"'
)


def one(line: str) -> Denial:
    (denial,) = parse(line)
    return denial


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (MOUNT, "mount options=(rw,rbind) -> /var/lib/docker/fuse-overlayfs/ab/merged/,"),
        (
            (
                'operation="mount" class="mount" info="failed flags match" error=-13 fstype="ext4" '
                'name="/mnt/" srcname="/dev/loop0" flags="ro"'
            ),
            "mount options=(ro) fstype=ext4 /dev/loop0 -> /mnt/,",
        ),
        (
            (
                'operation="mount" class="mount" fstype="fuse.fuse-overlayfs" '
                'srcname="fuse-overlayfs" flags="rw, nosuid, nodev" '
                'name="/var/lib/docker/fuse-overlayfs/ab/merged/"'
            ),
            (
                "mount options=(rw,nosuid,nodev) fstype=fuse.fuse-overlayfs -> "
                "/var/lib/docker/fuse-overlayfs/ab/merged/,"
            ),
        ),
        ('operation="umount" class="mount" name="/mnt/"', "umount /mnt/,"),
        (
            'operation="pivotroot" class="mount" name="/a/" srcname="/a/b/"',
            "pivot_root oldroot=/a/b/ /a/,",
        ),
        ('operation="pivotroot" class="mount" name="/a/"', "pivot_root /a/,"),
        (
            'operation="capable" class="cap" capability=12 capname="net_admin"',
            "capability net_admin,",
        ),
        (
            (
                'operation="create" class="net" family="alg" sock_type="seqpacket" protocol=0 '
                'requested_mask="create" denied_mask="create"'
            ),
            "network alg seqpacket,",
        ),
        (
            'operation="open" class="file" name="/proc/kcore" requested_mask="r" denied_mask="r"',
            "/proc/kcore r,",
        ),
        (
            'operation="ptrace" class="ptrace" denied_mask="read" peer="unconfined"',
            "ptrace (read) peer=unconfined,",
        ),
        (
            'operation="signal" class="signal" signal=term',
            "a rule for signal: the record has no denied_mask (",
        ),
    ],
)
def test_smallest_rule_of_each_kind_of_denial_allows_that_alone(record: str, expected: str) -> None:
    assert smallest_rule(one(AVC + record)).startswith(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('"/srv/**"', r"/srv/\*\* w,"),
        ("2F612C206D6F756E74", '"/a, mount" w,'),
        ("2F612072772C0A206D6F756E742C", "no rule, since no profile can name it"),
        ("2F611B5B324A", "no rule, since no profile can name it"),
    ],
    ids=["a pattern", "the end of a rule", "another line", "an escape sequence"],
)
def test_smallest_rule_of_a_name_made_for_it_stands_for_that_name_alone(
    name: str, expected: str
) -> None:
    denial = one(f'{AVC}operation="mknod" class="file" name={name} denied_mask="w"')
    assert smallest_rule(denial).startswith(expected)
    assert "\n" not in smallest_rule(denial) + denial.summary


#: One record of each kind, as kernels write them, and the rule that it is answered with.
RULES = [
    (
        'operation="mount" class="mount" name="/" flags="rw, rprivate"',
        "mount options=(rw,rprivate) -> /,",
    ),
    (
        'operation="mount" class="mount" name="/tmp/foo/" flags="ro, remount"',
        "mount options=(ro,remount) -> /tmp/foo/,",
    ),
    (
        'operation="mount" class="mount" name="/b c/" srcname="/a,b/" flags="rw, bind"',
        'mount options=(rw,bind) "/a,b/" -> "/b c/",',
    ),
    ('operation="umount" class="mount" name="/m*/"', r"umount /m\*/,"),
    (
        'operation="remount" class="mount" name="/mnt/" flags="ro, remount"',
        "remount options=(ro,remount) /mnt/,",
    ),
    (
        'operation="ptrace" class="ptrace" denied_mask="tracedby" peer="lxc-200_</var/lib/lxc>"',
        "ptrace (tracedby) peer=lxc-200_</var/lib/lxc>,",
    ),
    (
        'operation="signal" class="signal" denied_mask="send" signal=rtmin+5 peer=612062',
        'signal (send) set=(rtmin+5) peer="a b",',
    ),
    ('operation="capable" class="cap" capability=21 capname="sys_admin"', "capability sys_admin,"),
    (
        'operation="open" class="file" name="/a" denied_mask="wrc" fsuid=0 ouid=0',
        "owner /a rw,",
    ),
    ('operation="open" class="file" name="/a" denied_mask="r" fsuid=0 ouid=7', "/a r,"),
    ('operation="exec" class="file" name="/bin/x" denied_mask="x"', "/bin/x ix,"),
    ('operation="mknod" class="file" name="/dev/x" denied_mask="c"', "/dev/x w,"),
    ('operation="unlink" class="file" name="/x" denied_mask="d"', "/x w,"),
    ('operation="rename_src" class="file" name="/x" denied_mask="wrd"', "/x rw,"),
    ('operation="file_lock" class="file" name="/x" denied_mask="k"', "/x k,"),
    ('operation="file_mmap" class="file" name="/x.so" denied_mask="mr"', "/x.so rm,"),
    (
        'operation="link" class="file" name="/x" denied_mask="l" target="/y"',
        "link /x -> /y,",
    ),
    (
        'operation="create" class="net" family="inet" sock_type="raw" protocol=1 denied="create"',
        "network inet raw,",
    ),
    (
        'operation="create" class="net" family="unix" sock_type="stream" denied_mask="create"',
        "network unix stream,",
    ),
    (
        (
            'operation="connect" class="net" family="unix" sock_type="stream" protocol=0 '
            'denied="send receive connect" addr=none peer_addr="@x" peer=612062'
        ),
        'unix (send, receive, connect) type=stream peer=(label="a b", addr=@x),',
    ),
    (
        (
            'operation="userns_create" class="namespace" requested="userns_create" '
            'denied="userns_create"'
        ),
        "userns create,",
    ),
    ('operation="change_profile" target="lxc-x"', "change_profile -> lxc-x,"),
    ('operation="change_onexec" name="docker-default"', "change_profile -> docker-default,"),
    ('operation="stack" name="lxc-x" target="lxc-x"', "change_profile -> &lxc-x,"),
    ('operation="stack_onexec" name=612062', 'change_profile -> "&a b",'),
    (
        'operation="mount" name="/x/" fstype="tmpfs" srcname="none"',  # mount(2) with no flag
        "mount options=(rw) fstype=tmpfs -> /x/,",
    ),
    (
        (
            'operation="dbus_method_call" bus="system" path="/org/x" interface="org.x" '
            'member="Hello" mask="send" name="org.x" label="p" peer_label="unconfined"'
        ),
        (
            "dbus (send) bus=system path=/org/x interface=org.x member=Hello "
            "peer=(name=org.x, label=unconfined),"
        ),
    ),
    (
        'operation="dbus_bind" bus="system" name="org.x" mask="bind" label="p"',
        "dbus (bind) bus=system name=org.x,",
    ),
    ('operation="dbus_eavesdrop" bus="session" mask="eavesdrop"', "dbus (eavesdrop) bus=session,"),
    (
        'operation="uring_sqpoll" class="io_uring" requested="sqpoll" denied="sqpoll"',
        "io_uring (sqpoll),",
    ),
    (
        'operation="uring_override" class="io_uring" denied="override_creds" tcontext="p"',
        "io_uring (override_creds) label=p,",
    ),
    (
        'operation="open" class="posix_mqueue" name="/q" denied="read create"',
        "mqueue (read, create) type=posix /q,",
    ),
    (
        'operation="setrlimit" class="rlimits" rlimit=nofile value=1048576',
        "set rlimit nofile <= 1048576,",
    ),
    (
        'operation="setrlimit" rlimit=nofile value=18446744073709551615',
        "set rlimit nofile <= infinity,",
    ),
    ('operation="setrlimit" rlimit=nice value=30', "set rlimit nice <= -10,"),
    (
        'operation="mount" name="/a/" srcname="/s/" fstype="ext4" flags="rw, rbind"',
        "mount options=(rw,rbind) /s/ -> /a/,",
    ),
    (
        'operation="mount" name="/a/" srcname="/s/" fstype="ext4" flags="rw, rslave"',
        "mount options=(rw,rslave) -> /a/,",
    ),
    ('operation="create" family="inet" sock_type="dccp" denied="create"', "network inet,"),
    (
        (
            'operation="connect" family="unix" sock_type="stream" denied="connect" '
            'addr="/run/x" peer_addr="@0062" peer="p"'
        ),
        "unix (connect) type=stream peer=(label=p),",
    ),
    ('operation="umount" name="/a!b/"', 'umount "/a!b/",'),
    ('operation="umount" name="/a\\"', r"umount /a\134,"),
    (
        r'operation="link" name="/a\" target=2F625C2063 denied_mask="l"',
        r'link /a\134 -> "/b\134 c",',
    ),
]


@pytest.mark.parametrize(("record", "expected"), RULES)
def test_rule_of_each_operation_is_one_that_apparmors_parser_takes(
    record: str, expected: str
) -> None:
    said = rule(one(AVC + record))
    assert said == expected
    text = f"abi <abi/4.0>,\nprofile x {{\n  {said}\n}}\n"
    assert parse_profile(text).returncode == 0, parse_profile(text).stderr


#: Every flag that a kernel writes (security/apparmor/mount.c, audit_mnt_flags), but two.
FLAGS = """nosuid nodev noexec sync remount mand dirsync noatime nodiratime rbind bind move silent
acl runbindable unbindable rprivate private rslave slave rshared shared relatime iversion
strictatime"""


def test_rule_of_a_mount_with_any_flag_is_one_that_apparmors_parser_takes() -> None:
    flags = ["ro", *(f"rw, {flag}" for flag in FLAGS.split())]
    records = [f'operation="mount" name="/x/" flags="{each}"' for each in flags]
    rules = "\n".join(rule(one(AVC + each)) for each in records)
    done = parse_profile(f"abi <abi/4.0>,\nprofile x {{\n{rules}\n}}\n")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (
            (
                'operation="open" name="x/y" info="Failed name lookup - disconnected path" '
                'denied_mask="r"'
            ),
            "attach_disconnected",
        ),
        ('operation="open" name="/x" info="Failed name lookup - deleted entry"', "mediate_deleted"),
        ('operation="change_onexec" info="label not found" name="x"', "not loaded"),
        ('operation="exec" info="no new privs" name="/x" denied_mask="x"', "no_new_privs"),
        ('operation="profile_load" info="not policy admin" name="x"', "mac_admin"),
        ('operation="userns_create" info="Userns create restricted - failed"', "sysctl"),
        ('operation="mount" name="/x', "cut"),
        ('operation="mount" name="/x"', "flags"),
        ('operation="open" name="x" denied_mask="r"', "path from the root"),
        ('operation="open" name="/x" denied_mask="q"', "but q"),
        ('operation="capable" capname="x, mount"', "capname"),
        ('operation="create" family="inet" sock_type="x, mount"', "sock_type"),
        ('operation="create" family="unknown(99)"', "family"),
        ('operation="open" name=2FFF denied_mask="r"', "name it"),
        (
            'operation="exec" info="profile transition not found" name="/x" denied_mask="x"',
            "another profile",
        ),
        ('operation="setrlimit" rlimit=cpu value=1 info="cap_sys_resource"', "sys_resource"),
        ('operation="setrlimit" rlimit=nice value=0', "nice"),
        ('operation="setrlimit" rlimit=cpu value=x', "number"),
        ('operation="umount" name="x"', "path from the root"),
        ('operation="mount" name="/x/" srcname="/y/"', "flags"),
        ('operation="open" class="posix_mqueue" name="q" denied="read"', "path from the root"),
    ],
)
def test_rule_of_what_no_rule_would_allow_names_the_cause(record: str, cause: str) -> None:
    with naming(NoRule, cause):
        rule(one(AVC + record))


@examples(8)
@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF)), min_size=40))
def test_rules_of_any_names_are_rules_of_their_own_for_apparmors_parser(names: list[str]) -> None:
    records = [
        f"{operation} name={('/' + name).encode().hex().upper()}"
        for name in names
        for operation in (
            'operation="open" denied_mask="r"',
            'operation="umount"',
            'operation="mount" flags="rw, bind" srcname="/s"',
            'operation="change_profile"',
        )
    ]
    found = [one(AVC + each) for each in records]
    rules = [said for each in found if (said := _rule_of(each))]
    for said in rules:
        assert said.startswith(("/", '"', "umount ", "mount ", "change_profile "))
    text = "abi <abi/4.0>,\nprofile x {\n" + "".join(f"{said}\n  # end\n" for said in rules) + "}\n"
    assert parse_profile(text).returncode == 0, parse_profile(text).stderr


def _rule_of(denial: Denial) -> str:
    try:
        return rule(denial)
    except NoRule:
        return ""
