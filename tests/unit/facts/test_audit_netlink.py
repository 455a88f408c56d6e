"""The kernel's audit, of this machine where it lets us: what is said arrives, and is gone after."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facts import audit_netlink
from targets.errors import FactError
from targets.transport import Base, CommandResult, Local

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NETLINK, _AUDIT, _USER_AVC, _GET = 16, 9, 1107, 1000
_DENIED = 'apparmor="DENIED"'


def _say(text: str) -> None:
    """Let the kernel record something, as programs that have something to audit do."""
    said = text.encode() + b"\0"
    with socket.socket(_NETLINK, socket.SOCK_RAW, _AUDIT) as kernel:
        kernel.send(struct.pack("=LHHLL", 16 + len(said), _USER_AVC, 1, 1, 0) + said)


def _status() -> tuple[int, ...]:
    """Return the first numbers of ``struct audit_status``, as include/uapi/linux/audit.h has it."""
    with socket.socket(_NETLINK, socket.SOCK_RAW, _AUDIT) as kernel:
        kernel.send(struct.pack("=LHHLL", 16, _GET, 1, 1, 0))
        return struct.unpack_from("=8L", kernel.recv(8192), 16)


def _skip(said: str) -> None:
    """Skip where the machine does not let us: as nobody, in a container, without audit."""
    if re.search(
        "the kernel's audit: (Operation not permitted|Protocol not supp|Connection r)", said
    ):
        pytest.skip(said)


def _records() -> audit_netlink.Records:
    try:
        return audit_netlink.Records(Local())
    except FactError as error:
        _skip(str(error))
        raise


@pytest.fixture
def records() -> Iterator[audit_netlink.Records]:
    made = _records()
    yield made
    made.close()


def _process(records: audit_netlink.Records) -> int:
    """Return the pid of the listener."""
    return records._notes._process.pid  # type: ignore[attr-defined, no-any-return]


def _await(records: audit_netlink.Records, what: str) -> None:
    until = time.monotonic() + 20
    while what not in records.text() and time.monotonic() < until:
        time.sleep(0.05)
    assert what in records.text()


def _overrun(pid: int) -> bool:
    """Whether the kernel had to leave out something for one of this process's sockets."""
    rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
    inodes = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return any(int(row[8]) for row in rows if f"socket:[{row[9]}]" in inodes)


def _with(was: str, now: str) -> str:
    """Return the listener's program with one line of it changed."""
    assert audit_netlink._NOTE.count(was) == 1
    return audit_netlink._NOTE.replace(was, now)


def test_what_the_kernel_says_is_noted_until_the_end(records: audit_netlink.Records) -> None:
    nonce = secrets.token_hex(8)
    _say(f"{_DENIED} first {nonce}")
    _say(f"cmd=6D7973716C {nonce}")
    _say(f"{_DENIED} second {nonce}")
    _await(records, f"second {nonce}")
    ours = [line for line in records.text().splitlines() if nonce in line]
    assert [re.findall("first|second|cmd", line) for line in ours] == [["first"], ["second"]]
    assert audit_netlink.GAP not in records.text()
    assert Path(records._file).stat().st_mode & 0o777 == 0o600
    records.close()
    assert not Path(records._file).exists()
    with pytest.raises(FactError, match="localhost the kernel's audit is not read any more"):
        records.text()


def test_a_second_close_is_none(records: audit_netlink.Records) -> None:
    records.close()
    records.close()


def test_more_than_could_be_read_in_time_leaves_a_gap(records: audit_netlink.Records) -> None:
    noting = _process(records)
    os.kill(noting, signal.SIGSTOP)
    try:
        for _ in range(20_000):
            _say(_DENIED + " x" * 4000)
            if _overrun(noting):
                break
        else:
            pytest.fail("this machine's audit does not fill the listener's room")
    finally:
        os.kill(noting, signal.SIGCONT)
    _await(records, audit_netlink.GAP)


def test_a_flood_is_noted_up_to_the_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    room = _with(f"my $room = {audit_netlink._ROOM};", "my $room = 300;")
    monkeypatch.setattr(audit_netlink, "_NOTE", room)
    records = _records()
    for number in range(9):
        _say(f"{_DENIED} {number} {'x' * 90}")
    _await(records, audit_netlink.GAP)
    noted = records.text()
    assert len(noted) < 400
    assert noted.count(audit_netlink.GAP) == 1
    assert noted.endswith(f"{audit_netlink.GAP}\n")
    records.close()
    assert not Path(records._file).exists()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_a_listener_that_is_ended_leaves_no_file(
    records: audit_netlink.Records, end: signal.Signals
) -> None:
    os.kill(_process(records), end)
    _ended(records)


def test_nobody_listens_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = _with(f"alarm {audit_netlink._LONGEST};", "alarm 1;")
    monkeypatch.setattr(audit_netlink, "_NOTE", soon)
    _ended(_records())


def _ended(records: audit_netlink.Records) -> None:
    until = time.monotonic() + 10
    while records._notes.alive() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(records._file).exists()
    with pytest.raises(FactError, match="not read any more"):
        records.text()
    records.close()


def test_what_cannot_be_written_ends_the_noting() -> None:
    name = secrets.token_hex(4)
    full = Path("/run", f"docker-lxc-gate-full.{name}")
    full.symlink_to("/dev/full")
    notes = subprocess.Popen(
        ["perl", "-MIO::Handle", "-e", audit_netlink._NOTE, str(full), "/nosuch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert notes.stdout is not None
        if notes.stdout.readline() == "noting\n":
            _say(_DENIED)
            notes.wait(timeout=20)
    finally:
        notes.terminate()
        _, said = notes.communicate(timeout=20)
        left = full.is_symlink()
        full.unlink(missing_ok=True)
    _skip(said)
    assert said.startswith(f"{full}: No space left on device")
    assert not left


def test_a_log_that_shrinks_is_noted_and_one_that_is_replaced_is_not(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text("x" * 100)
    try:
        records = audit_netlink.Records(Local(), str(log))
    except FactError as error:
        _skip(str(error))
        raise
    log.rename(tmp_path / "audit.log.1")
    log.write_text("x" * 50)
    time.sleep(0.8)
    assert "shrank" not in records.text()
    log.write_text("x" * 10)
    _await(records, f"{audit_netlink.REMARK}shrank 50 ")  # to 0, or to the 10 bytes after that
    records.close()


def test_state_has_the_numbers_of_the_kernel(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text("four")
    try:
        told = audit_netlink.state(Local(), str(log))
    except FactError as error:
        _skip(str(error))
        raise
    assert told.lost == _status()[6], "the seventh number of struct audit_status"
    assert told.reader == _status()[3], "the fourth"
    assert (told.inode, told.size) == (str(log.stat().st_ino), 4)
    assert audit_netlink.state(Local(), "/nosuch").inode == ""


def test_which_of_the_numbers_are_the_reader_and_the_count(tmp_path: Path) -> None:
    """Nothing is lost here, mostly, and other numbers are 0, too: an answer tells them apart."""
    answer = struct.pack("=LHHLL", 60, 1000, 0, 1, 0) + struct.pack("=11L", *range(101, 112))
    (tmp_path / "answer").write_bytes(answer)
    unpack = next(line for line in audit_netlink._STATUS.splitlines() if "unpack" in line)
    script = 'open my $file, "<:raw", $ARGV[0]; read $file, my $status, 8192; '
    script += f'{unpack} print "$type $reader $lost"'
    told = Local().run(["perl", "-e", script, str(tmp_path / "answer")]).require()
    assert told.text == "1000 104 107"


#: Lets the program's socket answer with the files that it is given, one after the other.
_ANSWERS = """
BEGIN {
    my @answers = map { open my $file, "<:raw", $_; local $/; scalar <$file> } splice @ARGV, 1;
    *CORE::GLOBAL::socket = sub (*$$$) { 1 };
    *CORE::GLOBAL::send = sub { 1 };
    *CORE::GLOBAL::recv = sub (*\\$$$) {
        ${ $_[1] } = shift @answers;
        return defined ${ $_[1] } ? "" : undef;
    };
}
"""
_EQUAL, _NOT, _LESS = 4 << 28, 3 << 28, 1 << 28


def _rule(place: int, *fields: tuple[int, int, int], words: bytes = b"") -> bytes:
    """Return ``struct audit_rule_data``: each field's number, value and comparison."""
    columns = [[each[n] for each in fields] + [0] * (64 - len(fields)) for n in range(3)]
    numbers = [place, 2, len(fields), *[0] * 64, *columns[0], *columns[1], *columns[2], len(words)]
    return struct.pack("=LHHLL", 1064, 1013, 2, 2, 0) + struct.pack("=260L", *numbers) + words


def test_state_has_the_rules_that_leave_out_records_as_auditctl_words_them(tmp_path: Path) -> None:
    answers = [
        struct.pack("=LHHLL", 60, 1000, 0, 1, 0) + struct.pack("=11L", *range(101, 112)),
        _rule(5, (12, 1400, _EQUAL), (1, 100000, _EQUAL)),
        _rule(4, (11, 5, _EQUAL)),
        _rule(
            5, (14, 14, _EQUAL), (112, 8, _NOT), (9, 1000, _LESS), words=b"lxc-phoenix-v2/bin/cat"
        ),
        struct.pack("=LHHLL", 16, 3, 2, 2, 0),
    ]
    for number, answer in enumerate(answers):
        (tmp_path / f"{number}").write_bytes(answer)
    files = [str(tmp_path / f"{number}") for number in range(len(answers))]
    argv = ["perl", "-e", _ANSWERS + audit_netlink.STATE, "/nosuch", *files]
    assert Local().run(argv).require().text.splitlines() == [
        "lost 107",
        "reader 104",
        "rule -a always,exclude -F msgtype=AVC -F uid=100000",
        "rule -a always,exclude -F subj_role=lxc-phoenix-v2 -F exe!=/bin/cat -F auid<1000",
    ]


_AUDITCTL = """#!/bin/sh
case $1 in
-s) printf 'enabled 1\\npid %s\\nlost 3\\nbacklog 0\\n' "$READER" ;;
-l) printf '%s\\n' '-w /etc/passwd -p wa' '-a always,exclude -F msgtype=AVC' '-a never,task' ;;
esac
"""


def test_state_of_a_node_without_perl_is_auditctls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sed", "cat", "stat", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    auditctl = tmp_path / "auditctl"
    auditctl.write_text(_AUDITCTL)
    auditctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("READER", str(os.getpid()))
    told = audit_netlink.state(Local(), str(auditctl))
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert (told.lost, told.reader, told.started) == (3, os.getpid(), started)
    assert told.name == Path("/proc/self/comm").read_text().strip()
    assert told.rules == ("-a always,exclude -F msgtype=AVC",)
    assert told.size == len(_AUDITCTL)
    auditctl.unlink()
    with pytest.raises(FactError, match="the kernel's audit cannot be read on localhost"):
        audit_netlink.state(Local(), "/nosuch")


class _Told(Base):
    machine = "pve1"

    def __init__(self, text: str) -> None:
        self.text = text

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        return CommandResult(tuple(argv), 0, self.text.encode(), b"", self.machine, 0.0, 0.0)


def test_state_of_what_was_told() -> None:
    text = "lost 4\nreader 383\nrule -a always,exclude -F uid=1\nprocess T 1495 a b\nlog 11 5\n"
    rules = ("-a always,exclude -F uid=1",)
    expected = audit_netlink.State(4, 383, "a b", "T", "1495", "11", 5, rules)
    assert audit_netlink.state(_Told(text)) == expected
    assert expected.suspended
    assert audit_netlink.state(_Told("lost 4\n")) == audit_netlink.State(4)
    assert not audit_netlink.State(4).suspended
    with pytest.raises(FactError, match="audit on pve1 does not tell its status"):
        audit_netlink.state(_Told("reader 4\n"))
