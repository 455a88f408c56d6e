"""What is made of real records: those that the lab's kernel wrote of each operation.

That these rules allow what was denied, and nothing else of the table, is shown on the lab itself,
by ``tests/live/test_denials.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.facts.denial.denial_answers import rule, wanted
from docker_lxc_gate.facts.denial.denial_class import NoRule
from docker_lxc_gate.facts.denial.denial_groups import Group, Tally
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.apparmor.denials import LAB, LAB_CONTAINER, LAB_NODE
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("log", LAB, ids=lambda log: log.name)
def test_words_of_each_real_record_lack_nothing(log: Path) -> None:
    said = [wanted(group.denial.fields) for name, group in kinds(log) if name not in NONE]
    assert [each for each in said if "the record" in each] == []
