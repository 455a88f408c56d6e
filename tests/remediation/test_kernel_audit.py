"""The kernel's audit, of this machine where it lets us: what is said arrives, and is gone after."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remediation import kernel_audit
from remediation.errors import FactError
from remediation.transport import Local

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def _records() -> kernel_audit.Records:
    try:
        return kernel_audit.Records(Local())
    except FactError as error:
        _skip(str(error))
        raise


@pytest.fixture
def records() -> Iterator[kernel_audit.Records]:
    made = _records()
    yield made
    made.close()


def _process(records: kernel_audit.Records) -> int:
    """Return the pid of the listener."""
    return records._notes._process.pid  # type: ignore[attr-defined, no-any-return]


def _await(records: kernel_audit.Records, what: str) -> None:
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
    assert kernel_audit._NOTE.count(was) == 1
    return kernel_audit._NOTE.replace(was, now)


def test_what_the_kernel_says_is_noted_until_the_end(records: kernel_audit.Records) -> None:
    nonce = secrets.token_hex(8)
    _say(f"{_DENIED} first {nonce}")
    _say(f"cmd=6D7973716C {nonce}")
    _say(f"{_DENIED} second {nonce}")
    _await(records, f"second {nonce}")
    ours = [line for line in records.text().splitlines() if nonce in line]
    assert [re.findall("first|second|cmd", line) for line in ours] == [["first"], ["second"]]
    assert kernel_audit.GAP not in records.text()
    assert Path(records._file).stat().st_mode & 0o777 == 0o600
    records.close()
    assert not Path(records._file).exists()
    with pytest.raises(FactError, match="localhost the kernel's audit is not read any more"):
        records.text()


def test_a_second_close_is_none(records: kernel_audit.Records) -> None:
    records.close()
    records.close()


def test_more_than_could_be_read_in_time_leaves_a_gap(records: kernel_audit.Records) -> None:
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
    _await(records, kernel_audit.GAP)


def test_a_flood_is_noted_up_to_the_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    room = _with(f"my $room = {kernel_audit._ROOM};", "my $room = 300;")
    monkeypatch.setattr(kernel_audit, "_NOTE", room)
    records = _records()
    for number in range(9):
        _say(f"{_DENIED} {number} {'x' * 90}")
    _await(records, kernel_audit.GAP)
    noted = records.text()
    assert len(noted) < 400
    assert noted.count(kernel_audit.GAP) == 1
    assert noted.endswith(f"{kernel_audit.GAP}\n")
    records.close()
    assert not Path(records._file).exists()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_a_listener_that_is_ended_leaves_no_file(
    records: kernel_audit.Records, end: signal.Signals
) -> None:
    os.kill(_process(records), end)
    _ended(records)


def test_nobody_listens_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = _with(f"alarm {kernel_audit._LONGEST};", "alarm 1;")
    monkeypatch.setattr(kernel_audit, "_NOTE", soon)
    _ended(_records())


def _ended(records: kernel_audit.Records) -> None:
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
        ["perl", "-MIO::Handle", "-e", kernel_audit._NOTE, str(full)],
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


def test_the_kernel_counts_what_it_lost() -> None:
    try:
        told = kernel_audit.lost(Local())
    except FactError as error:
        _skip(str(error))
        raise
    assert told == _status()[6], "the seventh number of struct audit_status"


def test_which_of_the_numbers_is_how_many_were_lost(tmp_path: Path) -> None:
    """Nothing is lost here, mostly, and other numbers are 0, too: an answer tells them apart."""
    answer = struct.pack("=LHHLL", 60, 1000, 0, 1, 0) + struct.pack("=11L", *range(101, 112))
    (tmp_path / "answer").write_bytes(answer)
    unpack = next(line for line in kernel_audit._LOST.splitlines() if "unpack" in line)
    script = 'open my $file, "<:raw", $ARGV[0]; read $file, my $status, 8192; '
    script += f'{unpack} print "$type $lost"'
    told = Local().run(["perl", "-e", script, str(tmp_path / "answer")]).require()
    assert told.text == "1000 107"
