"""What is answered of a denial of each class: in words, by a rule of that name alone; dangers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.facts.denial.denial_answers import (
    answer,
    danger,
    rule,
    smallest_rule,
    wanted,
    who,
)
from docker_lxc_gate.facts.denial.denial_class import NoRule
from docker_lxc_gate.facts.denial.denial_groups import Group, Tally
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.apparmor.denials import LAB, LAB_CONTAINER, LAB_NODE, denial
from tests.doubles.examples import examples
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from pathlib import Path

    from docker_lxc_gate.facts.audit.audit_records import Denial


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('"/srv/**"', r"/srv/\*\* w,"),
        ("2F612C206D6F756E74", '"/a, mount" w,'),
        ("2F612072772C0A206D6F756E742C", "no rule: no profile can name it"),
        ("2F611B5B324A", "no rule: no profile can name it"),
        ("2F70726F632FC2862F78", "no rule: no profile can name it"),
    ],
    ids=["a pattern", "the end of a rule", "another line", "an escape sequence", "a mark of an id"],
)
def test_smallest_rule_of_a_name_made_for_it_stands_for_that_name_alone(
    name: str, expected: str
) -> None:
    denied = denial(f'operation="mknod" class="file" name={name} denied_mask="w"')
    assert smallest_rule(denied).startswith(expected)
    assert "\n" not in smallest_rule(denied) + denied.summary


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
        ('operation="signal" signal=term', "denied_mask"),
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
        rule(denial(record))


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
    found = [denial(each) for each in records]
    rules = [said for each in found if (said := _rule_of(each))]
    for said in rules:
        assert said.startswith(("/", '"', "umount ", "mount ", "change_profile "))
    text = "abi <abi/4.0>,\nprofile x {\n" + "".join(f"{said}\n  # end\n" for said in rules) + "}\n"
    assert parse_profile(text).returncode == 0, parse_profile(text).stderr


def _rule_of(denied: Denial) -> str:
    try:
        return rule(denied)
    except NoRule:
        return ""


def test_name_with_a_blank_is_quoted() -> None:
    assert who([]) == "a process"
    assert who(["runc", "a b", "fuse-overlayfs"]) == 'runc, "a b" and fuse-overlayfs'


OPEN = 'operation="open" name="/x" denied_mask="r"'
MOUNT = 'operation="mount" name="/m/" fstype="%s" flags="rw"'
INSIDE = ' namespace="root//lxc-950_<-var-lib-lxc>"'


@pytest.mark.parametrize(
    ("profile", "record", "try_first", "where"),
    [
        ("lxc-phoenix-v2", OPEN, "", ""),
        ("lxc-phoenix-v2", MOUNT % "tmpfs", "does not need this profile", ""),
        ("lxc-950_</var/lib/lxc>", OPEN, "", "lxc.apparmor.raw: RULE"),
        ("lxc-950_</var/lib/lxc>", MOUNT % "tmpfs", "has no nesting", "lxc.apparmor.raw: RULE"),
        ("lxc-container-default-cgns", OPEN, "nesting=1 in features", ""),
        ("lxd-c1_</var/lib/lxd>", OPEN, "", "raw.apparmor"),
        ("docker-default", OPEN, "", "not in the container's profile: docker-default is what"),
        ("docker-default", OPEN + INSIDE, "", "--security-opt apparmor=NAME"),
        ("rsyslogd", OPEN + INSIDE, "", "in rsyslogd as the container itself loads it"),
        ("snap.firefox", OPEN, "", "snapd generates"),
        ("/usr/sbin/mysqld", OPEN, "", ""),
    ],
)
def test_answer_of_a_profile_says_what_to_try_first_and_where_the_rule_goes(
    profile: str, record: str, try_first: str, where: str
) -> None:
    found = answer(denial(record, profile))
    assert found.rule
    for told, expected in ((found.try_first, try_first), (found.where, where)):
        assert expected in told
        assert bool(told) == bool(expected)


@pytest.mark.parametrize(
    ("profile", "record", "cause"),
    [
        *(
            ("lxc-950_</var/lib/lxc>", MOUNT % fstype, "mount it on the node")
            for fstype in ("nfs", "nfs4", "cifs", "ext4", "fuseblk", "ceph", "9p", "squashfs")
        ),
        ("rsyslogd", f"{MOUNT % 'nfs'}{INSIDE}", "mount it on the node"),
        *(("lxc-x", MOUNT % fstype, "leave out") for fstype in ("debugfs", "tracefs", "nfsd")),
        *(
            ("lxc-950_</var/lib/lxc>", MOUNT % fstype, "")
            for fstype in ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "ramfs", "overlay")
        ),
        *(
            ("lxc-x", MOUNT % fstype, "")
            for fstype in ("fuse", "fuse.sshfs", "cgroup", "cgroup2", "bpf", "binfmt_misc", "zfs")
        ),
        ("lxc-x", 'operation="mount" name="/m/" srcname="/s/" fstype="nfs" flags="rw, bind"', ""),
        ("/usr/bin/lxc-start", MOUNT % "ext4", ""),
        ("unconfined", 'operation="userns_create" info="Userns create restricted - x"', "Ubuntu"),
        ("unconfined", OPEN, "has no profile"),
        ("unprivileged_userns", OPEN, "Ubuntu moves"),
        ("lxc-x", 'operation="userns_create"', ""),
    ],
)
def test_answer_of_what_a_rule_cannot_allow_names_the_cause_and_suggests_none(
    profile: str, record: str, cause: str
) -> None:
    found = answer(denial(record, profile))
    assert cause in found.no_rule
    assert bool(found.no_rule) == bool(cause) != bool(found.rule)
    assert not (found.no_rule and (found.where or found.try_first or found.dangerous))


HEAD = "abi <abi/4.0>,\ninclude <tunables/global>\n"
_LAYER, _BUILT = "3f" * 32, "k1x" * 8 + "z"
#: Records as kernels write them, and the answers; a long warning by its begin. What the lab's
#: kernel recorded is below.
ANSWERS = r"""
operation="mount" name="/m/" fstype="fuse.f" srcname="f" flags="rw, nosuid"
  wanted to: mount a file system of type fuse.f from f on /m/ (rw, nosuid)
  rule: mount options=(rw,nosuid) fstype=fuse.f -> /m/,
operation="mount" name="/b/" srcname="/proc/" fstype="ext4" flags="rw, rbind"
  wanted to: bind /proc/ on /b/ (rw, rbind)
  rule: mount options=(rw,rbind) /proc/ -> /b/,
  dangerous: at /b/ the files of /proc/ have names that the profile's rules do not know
operation="mount" name="/b/" srcname="/srv/" flags="rw, bind"
  wanted to: bind /srv/ on /b/ (rw, bind)
  rule: mount options=(rw,bind) /srv/ -> /b/,
operation="mount" name="/" flags="rw, make-rslave"
  wanted to: make the mount / and all mounts below it slave (rw, make-rslave)
  rule: mount options=(rw,make-rslave) -> /,
operation="mount" name="/a/" srcname="/s/" fstype="ext4" flags="rw, rslave"
  wanted to: make the mount /a/ and all mounts below it slave (rw, rslave)
  rule: mount options=(rw,rslave) -> /a/,
  dangerous: the kernel's driver of ext4 reads what the container has written
operation="mount" name="/" flags="rw, private"
  wanted to: make the mount / private (rw, private)
  rule: mount options=(rw,private) -> /,
operation="mount" name="/x/" flags="ro, remount"
  wanted to: remount /x/ (ro, remount)
  rule: mount options=(ro,remount) -> /x/,
operation="mount" name="/x/" flags="rw, move"
  wanted to: move a mount that has no place yet (of the new mount calls) to /x/ (rw, move)
  rule: mount options=(rw,move) -> /x/,
  dangerous: of the new mount calls: the rule cannot say which type of file system
operation="mount" name="/x/" fstype="tmpfs" srcname="none"
  wanted to: mount a file system of type tmpfs from none on /x/
  rule: mount options=(rw) fstype=tmpfs -> /x/,
operation="mount" name="/x/" fstype="proc" flags="rw"
  wanted to: mount a file system of type proc on /x/ (rw)
  rule: mount options=(rw) fstype=proc -> /x/,
  dangerous: at /x/ the files of proc have names that the profile's rules do not know
operation="mount"
  wanted to: mount a file system on (the record has no name)
operation="remount" name="/mnt/" flags="ro, remount"
  wanted to: remount /mnt/
  rule: remount options=(ro,remount) /mnt/,
operation="umount" name="/proc/sys/"
  wanted to: unmount /proc/sys/
  rule: umount /proc/sys/,
  dangerous: what this mount covers is seen again
operation="umount" name="/mnt/"
  wanted to: unmount /mnt/
  rule: umount /mnt/,
operation="pivotroot" name="/x/"
  wanted to: make /x/ its root (pivot_root)
  rule: pivot_root /x/,
operation="capable" capname="sys_admin"
  wanted to: use the capability sys_admin
  rule: capability sys_admin,
  dangerous: a privileged container rules the node with it
operation="capable" capname="chown"
  wanted to: use the capability chown
  rule: capability chown,
operation="ptrace" denied_mask="trace" peer="unconfined"
  wanted to: trace a process under unconfined
  rule: ptrace (trace) peer=unconfined,
  dangerous: it may look into or steer every unconfined process, as far as its user and
operation="ptrace" denied_mask="read" peer="lxc-phoenix-v2"
  wanted to: look into a process under lxc-phoenix-v2 (ptrace read)
  rule: ptrace (read) peer=lxc-phoenix-v2,
operation="ptrace" denied_mask="readby" peer="unconfined"
  wanted to: be looked into by a process under unconfined (ptrace readby)
  rule: ptrace (readby) peer=unconfined,
operation="ptrace" denied_mask="tracedby" peer="lxc-200_</var/lib/lxc>"
  wanted to: be traced by a process under lxc-200_</var/lib/lxc>
  rule: ptrace (tracedby) peer=lxc-200_</var/lib/lxc>,
  dangerous: it may look into or steer every process under lxc-200_</var/lib/lxc>, as far
operation="signal" denied_mask="receive" signal=kill peer="p"
  wanted to: receive the signal kill from a process under p
  rule: signal (receive) set=(kill) peer=p,
operation="signal" denied_mask="send" signal=exists peer="unconfined"
  wanted to: send no signal (a look whether it exists) to a process under unconfined
  rule: signal (send) set=(exists) peer=unconfined,
operation="signal" denied_mask="send" signal=rtmin+5 peer=612062
  wanted to: send the signal rtmin+5 to a process under a b
  rule: signal (send) set=(rtmin+5) peer="a b",
  dangerous: it may end every process under a b, as far as its user and namespaces let it
operation="change_profile" target="lxc-x"
  wanted to: change to the profile lxc-x
  rule: change_profile -> lxc-x,
  dangerous: it leaves this profile for lxc-x, whose rules hold from then on
operation="change_onexec" name="x"
  wanted to: change to the profile x at its next exec
  rule: change_profile -> x,
  dangerous: it leaves this profile for x, whose rules hold from then on
operation="change_hat" target="x"
  wanted to: change to the hat x
  dangerous: it leaves this profile for x, whose rules hold from then on
operation="stack" name="lxc-x" target="lxc-x"
  wanted to: put the profile lxc-x on top of its own
  rule: change_profile -> &lxc-x,
operation="stack_onexec" name=612062
  wanted to: put the profile a b on top of its own at its next exec
  rule: change_profile -> "&a b",
operation="profile_replace" name="x"
  wanted to: replace the AppArmor profile x
  dangerous: it may replace AppArmor's policy, also the profile itself
operation="userns_create" denied="userns_create"
  wanted to: make a user namespace
  rule: userns create,
  dangerous: in a user namespace of its own a process has all capabilities, and reaches
operation="setrlimit" rlimit=nofile value=18446744073709551615
  wanted to: set the limit nofile to 18446744073709551615
  rule: set rlimit nofile <= infinity,
operation="setrlimit" rlimit=nice value=30
  wanted to: set the limit nice to 30
  rule: set rlimit nice <= -10,
operation="open" name="/x" denied_mask="wr::"
  wanted to: write and read /x
  rule: /x rw,
operation="open" name="/proc/sysrq-trigger" denied_mask="w"
  wanted to: write /proc/sysrq-trigger
  rule: /proc/sysrq-trigger w,
  dangerous: it restarts or halts the node
operation="open" name="/proc/sysrq-trigger" denied_mask="r"
  wanted to: read /proc/sysrq-trigger
  rule: /proc/sysrq-trigger r,
operation="open" name="/proc/kcore" denied_mask="r"
  wanted to: read /proc/kcore
  rule: /proc/kcore r,
  dangerous: the kernel's memory or addresses
operation="open" name="/dev/sda" denied_mask="r"
  wanted to: read /dev/sda
  rule: /dev/sda r,
  dangerous: a disk of the node, below every file's permissions
operation="open" name="/dev/null" denied_mask="rw"
  wanted to: read and write /dev/null
  rule: /dev/null rw,
operation="open" name="/proc/4711/environ" denied_mask="r"
  wanted to: read /proc/4711/environ
  rule: /proc/@{pid}/environ r,
  dangerous: the environment of other processes, which may hold secrets
operation="open" name="/proc/1/task/9/stat" denied_mask="r"
  wanted to: read /proc/1/task/9/stat
  rule: /proc/1/task/@{pid}/stat r,
operation="open" name="/proc/4711/mem" denied_mask="r"
  wanted to: read /proc/4711/mem
  rule: /proc/@{pid}/mem r,
  dangerous: the memory of another process
operation="open" name="/var/lib/docker/overlay2/LAYER-init/diff/a*" denied_mask="r"
  wanted to: read /var/lib/docker/overlay2/LAYER-init/diff/a*
  rule: /var/lib/docker/overlay2/[0-9a-f]*-init/diff/a\* r,
  dangerous: the same place of every container that Docker or Podman runs here
operation="mount" name="/data/fuse-overlayfs/BUILT/merged/" fstype="fuse" flags="rw"
  wanted to: mount a file system of type fuse on /data/fuse-overlayfs/BUILT/merged/ (rw)
  rule: mount options=(rw) fstype=fuse -> /data/fuse-overlayfs/[0-9a-z]*/merged/,
operation="open" name="/sys/fs/cgroup/system.slice/docker-LAYER.scope/a b" denied_mask="r"
  wanted to: read /sys/fs/cgroup/system.slice/docker-LAYER.scope/a b
  rule: "/sys/fs/cgroup/system.slice/docker-[0-9a-f]*.scope/a b" r,
operation="link" name="/proc/2/x" target="/var/lib/docker/containers/LAYER/y" denied_mask="l"
  wanted to: make the hard link /proc/2/x to /var/lib/docker/containers/LAYER/y
  rule: link /proc/@{pid}/x -> /var/lib/docker/containers/[0-9a-f]*/y,
operation="open" name="/etc/LAYER" denied_mask="r"
  wanted to: read /etc/LAYER
  rule: /etc/LAYER r,
operation="open" name="/proc/12x/@{pid}" denied_mask="r"
  wanted to: read /proc/12x/@{pid}
  rule: /proc/12x/@\{pid\} r,
operation="open" name="/overlay2/LAYER0/x" denied_mask="r"
  wanted to: read /overlay2/LAYER0/x
  rule: /overlay2/LAYER0/x r,
operation="rename_dest" name="/x" denied_mask="w"
  wanted to: rename something to /x
  rule: /x w,
operation="file_mmap" name="/x.so" denied_mask="mr"
  wanted to: map as a program and read /x.so
  rule: /x.so rm,
operation="link" name="/a\" target=2F625C2063 denied_mask="l"
  wanted to: make the hard link /a\ to /b\ c
  rule: link /a\134 -> "/b\134 c",
operation="strange"
  wanted to: do what AppArmor calls strange (the record does not name what)
operation="create" family="alg" sock_type="seqpacket"
  wanted to: open a socket (alg seqpacket)
  rule: network alg seqpacket,
  dangerous: kernel code that neither systemd nor Docker needs
operation="create" family="inet" sock_type="dccp" denied="create"
  wanted to: open a socket (inet dccp)
  rule: network inet,
operation="bind" family="inet" sock_type="stream"
  wanted to: bind (socket inet stream)
  rule: network inet stream,
operation="connect" family="unix" denied="send connect" addr=none peer_addr="@x" peer=612062
  wanted to: connect to @x of a process under a b (socket unix)
  rule: unix (send, connect) peer=(label="a b", addr=@x),
operation="connect" family="unix" denied="connect" addr="/run/x" peer_addr="@0062" peer="p"
  wanted to: connect /run/x to @0062 of a process under p (socket unix)
  rule: unix (connect) peer=(label=p),
operation="uring_sqpoll" denied="sqpoll"
  wanted to: use io_uring (sqpoll)
  rule: io_uring (sqpoll),
  dangerous: what io_uring does passes by seccomp's filter of system calls
operation="open" class="posix_mqueue" name="/q" denied="read create"
  wanted to: read, create the message queue /q
  rule: mqueue (read, create) type=posix /q,
operation="dbus_bind" bus="system" mask="bind" name="x"
  wanted to: own the name x on the system bus
  rule: dbus (bind) bus=system name=x,
operation="dbus_signal" bus="session" mask="receive" interface="x" member="M"
  wanted to: receive x.M on the session bus
  rule: dbus (receive) bus=session interface=x member=M,
operation="dbus_method_call" path="/x" interface="x" member="M" mask="send" name="x" peer_label="q"
  wanted to: send x.M of /x on the D-Bus bus
  rule: dbus (send) path=/x interface=x member=M peer=(name=x, label=q),
operation="dbus_method_call" bus="system" mask="send" name="org.freedesktop.systemd1"
  wanted to: send a message on the system bus
  rule: dbus (send) bus=system peer=(name=org.freedesktop.systemd1),
  dangerous: by this service programs are started outside the profile
operation="dbus_method_call" bus="system" mask="send" name=":1.32" peer_label="q"
  wanted to: send a message on the system bus
  rule: dbus (send) bus=system peer=(name=:1.[0-9]*, label=q),
operation="dbus_eavesdrop" bus="session" mask="eavesdrop"
  wanted to: listen to others on the session bus
  rule: dbus (eavesdrop) bus=session,
  dangerous: it hears what others say
"""


ANSWERS = ANSWERS.replace("LAYER", _LAYER).replace("BUILT", _BUILT)


@pytest.mark.parametrize("block", re.split(r"\n(?=\w)", ANSWERS.strip()))
def test_answers_of_each_operation_and_its_rule_is_one_that_apparmors_parser_takes(
    block: str,
) -> None:
    record, *lines = block.splitlines()
    expected = dict(line.strip().split(": ", 1) for line in lines)
    denied = denial(record)
    assert wanted(denied.fields) == expected["wanted to"]
    warning = danger(denied.fields)
    assert warning.startswith(expected.get("dangerous", ""))
    assert bool(warning) == ("dangerous" in expected)
    if "rule" not in expected:
        with pytest.raises(NoRule):
            rule(denied)
        return
    assert rule(denied) == expected["rule"]
    parsed = parse_profile(f"{HEAD}profile x {{\n  {expected['rule']}\n}}\n")
    assert parsed.returncode == 0, parsed.stderr


#: What is made of real records: those that the lab's kernel wrote of each operation. That the rules
#: allow what was denied, and nothing else, is shown on the lab, by ``tests/live/test_denials.py``.
#: By the program that was denied, as it calls itself.
RULES = {
    "mount_new": "mount options=(rw,nosuid,nodev) fstype=tmpfs -> /mnt/none/new/,",
    "mount_odd": 'mount options=(rw) fstype=tmpfs -> "/mnt/none/a b,c\\*\\[d\\]\\"é/",',
    "mount_bind": "mount options=(rw,bind) /mnt/none/mount_bind-source/ -> /mnt/none/mount_bind/,",
    "mount_rbind": (
        "mount options=(rw,rbind) /mnt/none/mount_rbind-source/ -> /mnt/none/mount_rbind/,"
    ),
    "mount_move": "mount options=(rw,move) /mnt/none/moved/ -> /mnt/none/moved-to/,",
    "mount_unbind": "mount options=(rw,unbindable) -> /mnt/none/mount_unbind/,",
    "mount_runbind": "mount options=(rw,runbindable) -> /mnt/none/mount_runbind/,",
    "remount": "mount options=(ro,remount) -> /mnt/none/remount/,",
    "remount_bind": "mount options=(ro,nosuid,remount,bind) -> /mnt/none/remount_bind/,",
    "move_mount": "mount options=(rw,move) -> /mnt/none/new-calls/,",
    "umount": "umount /mnt/none/unmounted/,",
    "pivotroot": "pivot_root oldroot=/mnt/none/root/old/ /mnt/none/root/,",
    "ptrace_trace": "ptrace (trace) peer=unconfined,",
    "ptrace_read": "ptrace (read) peer=unconfined,",
    "ptrace_tracedby": "ptrace (tracedby) peer=docker-lxc-gate-proof-other,",
    "ptrace_readby": "ptrace (readby) peer=docker-lxc-gate-proof-other,",
    "signal_send": "signal (send) set=(term) peer=unconfined,",
    "signal_realtime": "signal (send) set=(rtmin+5) peer=unconfined,",
    "signal_exists": "signal (send) set=(exists) peer=unconfined,",
    "signal_receive": "signal (receive) set=(term) peer=unconfined,",
    "capable": "capability sys_chroot,",
    "setrlimit": "set rlimit nofile <= 4096,",
    "userns_create": "userns create,",
    "change_profile": "change_profile -> docker-lxc-gate-proof-entered,",
    "change_onexec": "change_profile -> docker-lxc-gate-proof-other,",
    "stack": "change_profile -> &docker-lxc-gate-proof-stacked,",
    "open_read": "owner /mnt/none/open_read r,",
    "open_not_owned": "/mnt/none/another rw,",
    "open_odd": 'owner "/mnt/none/a b,c\\*\\[d\\]\\134\\{é\\}\\"\\^#@x" r,',
    "open_append": "owner /mnt/none/open_append a,",
    "create": "owner /mnt/none/create w,",
    "mknod": "owner /mnt/none/mknod w,",
    "mkdir": "owner /mnt/none/mkdir/ w,",
    "rmdir": "owner /mnt/none/rmdir/ w,",
    "unlink": "owner /mnt/none/unlink w,",
    "symlink": "owner /mnt/none/symlink w,",
    "link": "owner link /mnt/none/link -> /mnt/free/target,",
    "truncate": "owner /mnt/none/truncate w,",
    "rename_src": "owner /mnt/none/renamed rw,",
    "rename_dest": "owner /mnt/none/renamed-to w,",
    "chmod": "owner /mnt/none/chmod w,",
    "chown": "owner /mnt/none/chown w,",
    "file_lock": "owner /mnt/read/locked k,",
    "file_mmap": "owner /mnt/read/mapped m,",
    "file_mprotect": "owner /mnt/read/protected m,",
    "file_perm": "owner /mnt/none/opened w,",
    "file_inherit": "owner /mnt/none/inherited r,",
    "file_receive": "owner /mnt/none/received r,",
    "exec": "owner /mnt/read/program ix,",
    "sock_create": "network alg seqpacket,",
    "sock_bind": "network inet dgram,",
    "sock_listen": "network inet6 stream,",
    "sock_connect": "network inet6 dgram,",
    "sock_accept": "network inet stream,",
    "sock_sendmsg": "network unix dgram,",
    "sock_recvmsg": "network unix seqpacket,",
    "sock_getname": "network netlink raw,",
    "sock_getopt": "network inet raw,",
    "sock_setopt": "network inet6 raw,",
    "sock_shutdown": "network netlink dgram,",
    "uring_sqpoll": "io_uring (sqpoll),",
    "uring_override": "io_uring (override_creds) label=docker-lxc-gate-proof,",
}
NONE = {
    "profile_load": "capability mac_admin",
    "profile_replace": "capability mac_admin",
    "prlimit": "capability sys_resource",
    "px_to_nothing": "not loaded",
    "no_label": "not loaded",
    "disconnected": "attach_disconnected",
}
#: A deny forbids it; a queue of messages may be larger with the capability.
BESIDE = {"sysrq-trigger", "mqueue_create"}


def kinds(log: Path) -> list[tuple[str, Group]]:
    """Return the denials, each with the program's name."""
    tally = Tally(lambda *_: None, by_process=True)
    tally.count(log.read_bytes().splitlines())
    shell = {"sh": "file_inherit"}
    named = [(each.denial.fields["comm"], each) for each in tally.kinds()]
    return [(shell.get(name, name), each) for name, each in named]


@pytest.mark.parametrize("log", LAB, ids=lambda log: log.name)
def test_rule_of_each_real_record_is_the_one_that_was_proved(log: Path) -> None:
    found = {name: group for name, group in kinds(log) if name in RULES}
    assert {name: rule(group.denial) for name, group in found.items()} == {
        name: RULES[name] for name in found
    }
    assert all(group.denial.whole and group.readable for group in found.values())
    said = [wanted(group.denial.fields) for name, group in kinds(log) if name not in NONE]
    assert [each for each in said if "the record" in each] == []


def test_real_records_are_of_every_program_and_none_is_lost() -> None:
    assert {name for name, _ in kinds(LAB_NODE)} == RULES.keys() | NONE.keys() | BESIDE
    inside = {name for name, _ in kinds(LAB_CONTAINER)}
    assert RULES.keys() - inside == set()
    for log in LAB:
        records = log.read_bytes().count(b"apparmor=")
        assert sum(group.count for _, group in kinds(log)) == records


def test_rules_of_real_records_are_rules_that_apparmors_parser_takes() -> None:
    rules = "".join(f"  {each}\n" for each in RULES.values())
    done = parse_profile(f"abi <abi/4.0>,\nprofile x {{\n{rules}}}\n")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NONE)
def test_real_record_that_no_rule_helps_names_what_does(name: str) -> None:
    _, group = next(
        (program, group)
        for program, group in kinds(LAB_NODE)
        if program == name and group.denial.fields["operation"] != "capable"
    )
    with naming(NoRule, NONE[name]):
        rule(group.denial)
