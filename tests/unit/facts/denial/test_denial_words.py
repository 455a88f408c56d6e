"""What is said of each operation: in words, and whether allowing it is dangerous."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from facts.audit.audit_records import kind, parse
from facts.denial.dangerous_rules import danger
from facts.denial.denial_words import wanted, where, who
from tests.doubles.apparmor.denials import CORPUS, LAB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AVC = 'apparmor="DENIED" profile="lxc-phoenix-v2" pid=7 '

WORDS = [
    (
        'operation="mount" name="/m/" fstype="fuse" srcname="f" flags="rw"',
        "mount a file system of type fuse from f on /m/ (rw)",
    ),
    (
        'operation="mount" name="/b/" srcname="/a/" flags="rw, rbind"',
        "bind /a/ on /b/ (rw, rbind)",
    ),
    (
        'operation="mount" name="/" flags="rw, make-rslave"',
        "make the mount / and all mounts below it slave (rw, make-rslave)",
    ),
    (
        'operation="mount" name="/" flags="rw, private"',
        "make the mount / private (rw, private)",
    ),
    ('operation="mount" name="/x/" flags="ro, remount"', "remount /x/ (ro, remount)"),
    (
        'operation="mount" name="/x/" flags="rw, move"',
        "move a mount that has no place yet (of the new mount calls) to /x/ (rw, move)",
    ),
    ('operation="umount" name="/x/"', "unmount /x/"),
    ('operation="pivotroot" name="/x/"', "make /x/ its root (pivot_root)"),
    ('operation="capable" capname="sys_admin"', "use the capability sys_admin"),
    (
        'operation="ptrace" denied_mask="trace" peer="unconfined"',
        "trace a process under unconfined",
    ),
    (
        'operation="signal" denied_mask="receive" signal=kill peer="p"',
        "receive the signal kill from a process under p",
    ),
    (
        'operation="signal" denied_mask="send" signal=exists peer="p"',
        "send no signal (a look whether it exists) to a process under p",
    ),
    ('operation="open" name="/x" denied_mask="wr"', "write and read /x"),
    ('operation="rename_dest" name="/x" denied_mask="w"', "rename something to /x"),
    ('operation="link" name="/b" target="/a"', "make the hard link /b to /a"),
    ('operation="create" family="alg" sock_type="seqpacket"', "open a socket (alg seqpacket)"),
    ('operation="bind" family="inet" sock_type="stream"', "bind (socket inet stream)"),
    (
        'operation="connect" family="unix" sock_type="stream" peer_addr="@x" peer="q"',
        "connect to @x of a process under q (socket unix stream)",
    ),
    ('operation="userns_create"', "make a user namespace"),
    ('operation="change_onexec" name="x"', "change to the profile x at its next exec"),
    ('operation="stack" name="x"', "put the profile x on top of its own"),
    ('operation="stack_onexec" name="x"', "put the profile x on top of its own at its next exec"),
    ('operation="profile_replace" name="x"', "replace the AppArmor profile x"),
    ('operation="uring_sqpoll" denied="sqpoll"', "use io_uring (sqpoll)"),
    (
        'operation="open" class="posix_mqueue" name="/q" denied="read create"',
        "read, create the message queue /q",
    ),
    ('operation="dbus_bind" bus="system" mask="bind" name="x"', "own the name x on the system bus"),
    (
        'operation="dbus_signal" bus="session" mask="receive" interface="a.b" member="C" path="/p"',
        "receive a.b.C of /p on the session bus",
    ),
    ('operation="setrlimit" rlimit=nofile value=9', "set the limit nofile to 9"),
    ('operation="strange"', "do what AppArmor calls strange (the record does not name what)"),
    ('operation="mount"', "mount a file system on (the record has no name)"),
]


@pytest.mark.parametrize(("record", "words"), WORDS)
def test_wanted_of_each_operation_is_said_in_words(record: str, words: str) -> None:
    (denial,) = parse(AVC + record)
    assert wanted(denial.fields) == words


def test_name_with_a_blank_is_quoted() -> None:
    assert who([]) == "a process"
    assert who(["runc", "a b", "fuse-overlayfs"]) == 'runc, "a b" and fuse-overlayfs'


@pytest.mark.parametrize(
    ("record", "dangerous"),
    [
        ('operation="change_profile" name="unconfined"', True),
        ('operation="capable" capname="sys_admin"', True),
        ('operation="capable" capname="chown"', False),
        ('operation="ptrace" denied_mask="read" peer="unconfined"', True),
        ('operation="ptrace" denied_mask="read" peer="lxc-phoenix-v2"', False),
        ('operation="ptrace" denied_mask="readby" peer="unconfined"', False),
        ('operation="signal" denied_mask="send" signal=exists peer="unconfined"', False),
        ('operation="open" name="/proc/sysrq-trigger" denied_mask="w"', True),
        ('operation="open" name="/proc/sysrq-trigger" denied_mask="r"', False),
        ('operation="open" name="/proc/kcore" denied_mask="r"', True),
        ('operation="open" name="/dev/sda" denied_mask="r"', True),
        ('operation="open" name="/dev/null" denied_mask="rw"', False),
        ('operation="open" name="/srv/x" denied_mask="rw"', False),
        ('operation="mount" name="/x/" fstype="proc" flags="rw"', True),
        ('operation="mount" name="/x/" fstype="ext4" flags="rw"', True),
        ('operation="mount" name="/x/" fstype="fuse.fuse-overlayfs" flags="rw"', False),
        ('operation="mount" name="/x/" srcname="/proc/" flags="rw, bind"', True),
        ('operation="mount" name="/x/" srcname="/srv/" flags="rw, bind"', False),
        ('operation="mount" name="/x/" flags="rw, move"', True),
        ('operation="umount" name="/proc/sys/"', True),
        ('operation="umount" name="/mnt/"', False),
        ('operation="create" family="alg"', True),
        ('operation="create" family="inet"', False),
        ('operation="userns_create"', True),
        ('operation="uring_sqpoll"', True),
        ('operation="profile_load"', True),
        ('operation="dbus_method_call" name="org.freedesktop.systemd1" mask="send"', True),
        ('operation="dbus_method_call" name="org.x" mask="send"', False),
        ('operation="dbus_eavesdrop" mask="eavesdrop"', True),
        ('operation="open" class="posix_mqueue" name="/q"', False),
    ],
)
def test_danger_of_a_rule_is_said(record: str, dangerous: bool) -> None:
    (denial,) = parse(AVC + record)
    assert bool(danger(denial.fields)) == dangerous


def test_kind_of_a_record_is_its_operation_or_its_group() -> None:
    assert kind({"operation": "open", "class": "sysv_mqueue"}) == "mqueue"
    assert kind({"operation": "create", "family": "inet"}) == "network"
    assert kind({}) == ""


class _Record(ctypes.Structure):
    """The first members of ``aa_log_record``, by the names that a record has for them.

    Source: libapparmor, include/aalogparse.h.
    """

    _fields_ = (
        *[(name, ctypes.c_int) for name in ("version", "event")],
        *[(name, ctypes.c_ulong) for name in ("pid", "peer_pid", "task", "magic_token")],
        ("epoch", ctypes.c_long),
        *[("audit_sub_id", ctypes.c_uint), ("bitmask", ctypes.c_int)],
        *[(name, ctypes.c_char_p) for name in ("audit_id", "operation", "denied", "requested")],
        *[("fsuid", ctypes.c_ulong), ("ouid", ctypes.c_ulong)],
        *[(name, ctypes.c_char_p) for name in ("profile", "tcontext", "comm", "name", "target")],
        *[("namespace", ctypes.c_char_p), ("attribute", ctypes.c_char_p)],
        ("parent", ctypes.c_ulong),
        *[(name, ctypes.c_char_p) for name in ("info", "peer_info")],
        ("error", ctypes.c_int),
        *[(name, ctypes.c_char_p) for name in ("hat", "family", "protocol", "sock_type", "laddr")],
        *[("lport", ctypes.c_ulong), ("faddr", ctypes.c_char_p), ("fport", ctypes.c_ulong)],
        *[(name, ctypes.c_char_p) for name in ("bus", "path", "interface", "member")],
        *[(name, ctypes.c_char_p) for name in ("signal", "peer", "fstype", "flags", "srcname")],
    )


#: What is compared as text, and how many records of the corpus must have it at least.
_COMPARED = {
    **dict.fromkeys(("operation", "profile", "comm", "name", "namespace"), 1),
    "target": 12,
    "requested": 100,
    "denied": 100,
    "tcontext": 3,
    "peer": 20,
    "signal": 10,
    "fstype": 7,
    "flags": 20,
    "srcname": 13,
    "family": 20,
    "sock_type": 20,
}
#: What a record may call it otherwise.
_OTHERWISE = {"name": "capname", "requested": "requested_mask", "denied": "denied_mask"}


def _reference(line: str) -> _Record | None:
    """Return what AppArmor's own library (Debian's libapparmor1) reads in a line; None: nothing."""
    library = ctypes.CDLL("libapparmor.so.1")
    library.parse_record.restype = ctypes.POINTER(_Record)
    found: _Record = library.parse_record(line.encode()).contents
    return found if found.operation else None


@pytest.mark.parametrize(
    ("log", "fewest"), [*zip((CORPUS, *LAB), (26, 69, 67, 8), strict=True)], ids=str
)
def test_parse_of_the_corpus_is_what_apparmors_own_library_reads(log: Path, fewest: int) -> None:
    assert sum(1 for _ in _compared(log)) >= fewest


def test_each_field_is_compared_with_apparmors_own_library() -> None:
    found = Counter(name for log in (CORPUS, *LAB) for names in _compared(log) for name in names)
    assert {name: found[name] for name, least in _COMPARED.items() if found[name] < least} == {}


def _compared(log: Path) -> Iterator[list[str]]:
    """Compare each record with what the library reads; yield the names of what it gave."""
    for line in log.read_text("utf-8").splitlines():
        # The library knows the date of syslog, and not the journal's.
        found, theirs = parse(line), _reference(re.sub("^[0-9.]+ ", "Nov 26 18:18:26 ", line))
        if len(found) != 1 or theirs is None or not found[0].whole:
            continue
        fields = found[0].fields
        given = [name for name in _COMPARED if getattr(theirs, name)]
        for name in given:
            ours = fields.get(name) or fields.get(_OTHERWISE.get(name, ""))
            assert ours == getattr(theirs, name).decode(errors="replace"), line
        assert int(fields["pid"]) == theirs.pid
        yield given


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"profile": "lxc-phoenix-v2"}, ""),
        ({"profile": "lxc-950_</var/lib/lxc>"}, "lxc.apparmor.raw: RULE"),
        ({"profile": "lxc-container-default-cgns"}, "nesting=1 in features"),
        ({"profile": "lxc-container-default-with-nesting"}, ""),
        (
            {"profile": "docker-default", "namespace": "root//lxc-950_<-var-lib-lxc>"},
            "in docker-default as the container itself loads it",
        ),
        ({}, ""),
    ],
)
def test_where_a_rule_is_written_is_said_where_it_is_no_file_of_the_profile(
    fields: dict[str, str], said: str
) -> None:
    assert said in where(fields)
    assert bool(where(fields)) == bool(said)
