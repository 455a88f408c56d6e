"""The kernel's audit, of this machine where it lets us: what is said arrives, and is gone after."""

import os
import re
import secrets
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_sources
from docker_lxc_gate.machines.child import Hold
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Local
from tests.doubles.answering import Answering
from tests.doubles.naming import naming
from tests.doubles.programs.processes import until

_NETLINK, _AUDIT, _USER_AVC = 16, 9, 1107
_DENIED = 'apparmor="DENIED"'


def _say(text: str) -> None:
    """Let the kernel record something, as programs that have something to audit do."""
    said = text.encode() + b"\0"
    with socket.socket(_NETLINK, socket.SOCK_RAW, _AUDIT) as kernel:
        kernel.send(struct.pack("=LHHLL", 16 + len(said), _USER_AVC, 1, 1, 0) + said)


class Held(Local):
    """This machine, with the listener that it holds: where it writes, and how it is started."""

    change = ("", "")  #: what is said otherwise in the listener's program
    full = False  #: whether there is no room where it writes

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        assert argv[3].count(self.change[0]) == 1 or self.change == ("", "")
        self.file = Path(argv[5])
        if self.full:
            self.file.symlink_to("/dev/full")
        self.held = super().hold([*argv[:3], argv[3].replace(*self.change), *argv[4:]], word)
        return self.held

    def pid(self) -> int:
        """Return the process id of the listener, by the file that it alone is told."""
        found = subprocess.run(["pgrep", "-f", str(self.file)], check=True, capture_output=True)
        return int(found.stdout.split()[0])


@pytest.fixture
def held() -> Held:
    return Held()


def _records(held: Held) -> audit_sources.Records:
    try:
        return audit_sources.Records(held)
    except FactError as error:
        refused = "Operation not permitted|Protocol not supp|Connection r"
        if re.search(f"the kernel's audit: ({refused})", str(error)):
            pytest.skip(str(error))  # as nobody, in a container, without audit
        raise


@pytest.fixture
def records(held: Held) -> Iterator[audit_sources.Records]:
    made = _records(held)
    yield made
    made.close()


def _overrun(pid: int) -> bool:
    """Whether the kernel had to leave out something for one of this process's sockets."""
    rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
    inodes = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return any(int(row[8]) for row in rows if f"socket:[{row[9]}]" in inodes)


def test_kernels_records_are_noted_until_closed(records: audit_sources.Records, held: Held) -> None:
    nonce = secrets.token_hex(8)
    _say(f"{_DENIED} first {nonce}")
    _say(f"cmd=6D7973716C {nonce}")
    _say(f"{_DENIED.replace('DENIED', 'KILLED')} second {nonce}")
    until(lambda: f"second {nonce}" in records.text())
    ours = [line for line in records.text().splitlines() if nonce in line]
    assert [re.findall("first|second|cmd", line) for line in ours] == [["first"], ["second"]]
    assert audit_sources.GAP not in records.text()
    assert held.file.stat().st_mode & 0o777 == 0o600
    records.close()
    records.close()
    assert not held.file.exists()
    with naming(FactError, "localhost"):
        records.text()


def test_records_not_read_in_time_leave_a_gap(records: audit_sources.Records, held: Held) -> None:
    noting = held.pid()
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
    until(lambda: audit_sources.GAP in records.text())


def test_records_of_a_flood_are_noted_up_to_the_room_for_them(held: Held) -> None:
    held.change = ("my $room = ", "my $room = 300; #")
    records = _records(held)
    for number in range(9):
        _say(f"{_DENIED} {number} {'x' * 90}")
    until(lambda: audit_sources.GAP in records.text())
    noted = records.text()
    assert len(noted) < 400
    assert noted.count(audit_sources.GAP) == 1
    assert noted.endswith(f"{audit_sources.GAP}\n")
    records.close()
    assert not held.file.exists()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_records_whose_listener_was_ended_leave_no_file(
    records: audit_sources.Records, held: Held, end: signal.Signals
) -> None:
    os.kill(held.pid(), end)
    _ended(records, held)


def test_records_that_nobody_closes_end_by_themselves(held: Held) -> None:
    held.change = ("alarm ", "alarm 1; #")
    _ended(_records(held), held)


def test_records_that_cannot_be_written_end_and_leave_no_file(held: Held) -> None:
    held.full = True
    try:
        records = _records(held)
        _say(_DENIED)
        _ended(records, held)
        assert not held.file.is_symlink()
    finally:
        held.file.unlink(missing_ok=True)


def _ended(records: audit_sources.Records, held: Held) -> None:
    until(lambda: not held.held.alive())
    assert not held.file.exists()
    with pytest.raises(FactError):
        records.text()
    records.close()


#: Lets the program's socket answer with files, one after the other.
_ANSWERS = """
BEGIN {
    my @answers = map { open my $file, "<:raw", $_; local $/; scalar <$file> }
        split " ", $ENV{ANSWERS};
    *CORE::GLOBAL::socket = sub (*$$$) { 1 };
    *CORE::GLOBAL::send = sub { 1 };
    *CORE::GLOBAL::recv = sub (*\\$$$) {
        ${ $_[1] } = shift @answers;
        return defined ${ $_[1] } ? "" : undef;
    };
}
"""
_EQUAL, _NOT, _LESS = 4 << 28, 3 << 28, 1 << 28


class _Kernel(Local):
    """This machine, whose kernel's audit answers with these files."""

    def __init__(self, *answers: Path) -> None:
        self.answers = " ".join(map(str, answers))

    def execute(self, command: Command) -> CommandResult:
        perl, option, program, task = command.argv
        argv = ("env", f"ANSWERS={self.answers}", perl, option, _ANSWERS + program, task)
        return super().execute(replace(command, argv=argv))


def _rule(place: int, *fields: tuple[int, int, int], words: bytes = b"") -> bytes:
    """Return ``struct audit_rule_data``: each field's number, value and comparison."""
    columns = [[each[n] for each in fields] + [0] * (64 - len(fields)) for n in range(3)]
    numbers = [place, 2, len(fields), *[0] * 64, *columns[0], *columns[1], *columns[2], len(words)]
    return struct.pack("=LHHLL", 1064, 1013, 2, 2, 0) + struct.pack("=260L", *numbers) + words


def test_state_of_the_kernels_answers_words_rules_as_auditctl_does(tmp_path: Path) -> None:
    """Numbers that differ tell them apart: on a quiet machine most are 0."""
    answers = [
        struct.pack("=LHHLL", 60, 1000, 0, 1, 0) + struct.pack("=11L", *range(101, 112)),
        _rule(5, (12, 1400, _EQUAL), (1, 100000, _EQUAL)),
        _rule(4, (11, 5, _EQUAL)),
        _rule(
            5, (14, 14, _EQUAL), (112, 8, _NOT), (9, 1000, _LESS), words=b"lxc-phoenix-v2/bin/cat"
        ),
        struct.pack("=LHHLL", 16, 3, 2, 2, 0),
    ]
    files = [tmp_path / f"{number}" for number in range(len(answers))]
    for file, answer in zip(files, answers, strict=True):
        file.write_bytes(answer)
    told = audit_sources.state(_Kernel(*files))
    assert (told.lost, told.reader) == (107, 104)
    assert told.rules == (
        "-a always,exclude -F msgtype=AVC -F uid=100000",
        "-a always,exclude -F subj_role=lxc-phoenix-v2 -F exe!=/bin/cat -F auid<1000",
    )


def _told(text: str) -> Answering:
    return Answering(lambda _: text.encode(), "pve1")


def test_state_of_an_answer_has_its_fields() -> None:
    text = "lost 4\nreader 383\nrule -a always,exclude -F uid=1\nprocess T a b\n"
    rules = ("-a always,exclude -F uid=1",)
    expected = audit_sources.AuditState(4, 383, "a b", "T", rules)
    assert audit_sources.state(_told(text)) == expected
    assert audit_sources.state(_told("lost 4\nreader 0\n")) == audit_sources.AuditState(4)
    for cut in ("lost 4\n", "reader 4\n"):
        with naming(FactError, "pve1"):
            audit_sources.state(_told(cut))
