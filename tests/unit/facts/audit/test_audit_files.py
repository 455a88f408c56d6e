"""Lines of denials in files of a log: compressed, rotated, cut, and longer than memory."""

import io
import os
import pty
import re
import textwrap
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_files
from docker_lxc_gate.facts.audit.audit_records import parse
from tests.doubles.apparmor.denials import CORPUS, KERNEL
from tests.doubles.examples import examples, in_depth
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LINE = b'type=AVC msg=audit(1795717106.1:7): apparmor="DENIED" operation="open" name="/x"'
HOLDS = re.compile(b'DENIED|KILLED|STATUS|D" operation="')
NOISE = b"type=USER_ACCT msg=audit(1795717106.1:8): pid=1 uid=0 msg='op=x acct=\"root\"'"


def test_files_of_a_directory_are_oldest_first_and_nothing_else(tmp_path: Path) -> None:
    for name in ("audit.log", "audit.log.1", "audit.log.2.gz", "audit.log.10.gz"):
        (tmp_path / name).touch()
    (tmp_path / "audit.log-20261101.gz").touch()
    (tmp_path / "audit.logs").touch()
    (tmp_path / "audit.log.d").mkdir()
    names = [path.name for path in audit_files.files(tmp_path)]
    numbered = ["audit.log.10.gz", "audit.log.2.gz", "audit.log.1", "audit.log"]
    assert names == ["audit.log-20261101.gz", *numbered]


def test_files_of_a_directory_without_a_log_is_an_error(tmp_path: Path) -> None:
    with naming(FactError, tmp_path, "audit.log"):
        audit_files.files(tmp_path)


@pytest.mark.parametrize("word", audit_files.BYTES)
def test_lines_of_json_below_another_line_may_hold_a_message_in_bytes(word: str) -> None:
    entry = b'{"MESSAGE":[%s]}' % word.encode()
    assert list(
        audit_files.lines(io.BufferedReader(io.BytesIO(b"$ journalctl -o json\n" + entry)))
    ) == [entry]


RECORDS = [*CORPUS.read_bytes().splitlines(), *KERNEL.read_bytes().splitlines()]


@examples(150)
@given(
    lines=st.lists(st.sampled_from([*RECORDS, NOISE, b"", LINE + NOISE + LINE]), max_size=20),
    piece=st.integers(1, 4000),
    end=st.sampled_from([b"", b"\n"]),
)
def test_lines_are_the_same_in_pieces_of_any_length(
    lines: list[bytes], piece: int, end: bytes
) -> None:
    text = b"\n".join(lines) + end
    found = list(audit_files.lines(io.BufferedReader(io.BytesIO(text), piece)))
    assert found == [line for line in text.split(b"\n") if HOLDS.search(line)]


class Repeated(io.RawIOBase):
    """A pipe of so many bytes, which nobody has in memory, of one text again and again."""

    def __init__(self, text: bytes, many: int) -> None:
        self._text, self._left, self.read_bytes = text, many, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        room = memoryview(buffer)
        size = min(self._left, len(room))
        room[:size] = (self._text * (size // len(self._text) + 1))[:size]
        self._left -= size
        self.read_bytes += size
        return size


def test_lines_of_a_long_log_take_the_memory_of_a_few_pieces() -> None:
    log = Repeated((NOISE + b"\n") * 20 + LINE + b"\n", 20 << 20)
    tracemalloc.start()
    try:
        many = sum(1 for _ in audit_files.lines(audit_files.decompressed(log)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert many > 10_000
    assert most < 8 << 20


def test_lines_of_a_pipe_without_a_line_end_are_refused_after_64_mib() -> None:
    pipe = Repeated(bytes(1000), 1 << 40)
    with pytest.raises(OSError, match="no line ends in 64 MiB, so it is no log"):
        list(audit_files.lines(audit_files.decompressed(pipe)))
    assert 64 << 20 <= pipe.read_bytes < 65 << 20


def test_lines_of_a_file_after_a_hole_are_read(tmp_path: Path) -> None:
    """A log that was cut while its writer kept its place begins with a hole: see logrotate(8)."""
    with (tmp_path / "log").open("wb") as log:
        log.seek(80 << 20)
        log.write(b"\n" + LINE)
    with audit_files.opened(tmp_path / "log") as stream:
        assert list(audit_files.lines(stream)) == [LINE]


def test_lines_that_are_typed_end_with_the_first_end_of_input() -> None:
    ours, terminal = pty.openpty()
    try:
        os.write(ours, LINE + b"\n\x04")
        with os.fdopen(terminal, "rb") as typed:
            lines = list(audit_files.lines(audit_files.decompressed(typed)))
    finally:
        os.close(ours)
    assert lines == [LINE]


HEAD = '[12.5] audit: type=1400 audit(1764000000.123:456): apparmor="DENIED" operation="'
WRAPPED = (
    HEAD
    + 'mount" class="mount" info="failed flags match" error=-13 profile="lxc-105_</var/lib/lxc>" '
    'name="/var/lib/docker/overlay2/0123456789abcdef0123456789abcdef0123456789abcdef/merged/proc/" '
    'pid=777 comm="runc:[2:INIT]" fstype="mqueue" srcname="mqueue" flags="rw, nosuid, noexec"',
    HEAD + 'open" class="file" profile="docker-default" name="/proc/sys/net/ipv4/conf" pid=12345 '
    'comm="node" requested_mask="wc" denied_mask="wc" fsuid=100000 ouid=0',
)
#: What may stand below a record, and is none of it.
BELOW = (
    "[13.5] usb 1-1: new device",
    "----",
    'time="2026-12-01T10:00:00Z" level=error msg="x" name="y"',
    "PATH=/usr/bin",
    "type=SYSCALL msg=audit(1.5:6): arch=c000003e name=x",
    WRAPPED[1],
)


@pytest.mark.parametrize("below", BELOW)
@pytest.mark.parametrize("record", WRAPPED)
def test_lines_that_were_broken_at_any_width_are_one_record(record: str, below: str) -> None:
    for width in range(len(HEAD), 200, 1 if in_depth() else 3):
        soft = textwrap.wrap(record, width, break_long_words=False, break_on_hyphens=False)
        for pieces in (
            [record],
            [record[at : at + width] for at in range(0, len(record), width)],
            soft,
            [f"> {each}" for each in soft],
        ):
            text = "\n".join([*pieces, below, ""]).encode()
            first, *_ = audit_files.lines(io.BufferedReader(io.BytesIO(text)))  # type: ignore[arg-type]
            got, wanted = (parse(each)[0].fields for each in (first.decode(), record))
            assert {**got, "info": ""} == {**wanted, "info": ""}


@pytest.mark.parametrize(("piece", "most"), [("a", 11), ("a" * 1000, 5)])
def test_lines_below_an_open_name_are_joined_up_to_a_bound(piece: str, most: int) -> None:
    begin = HEAD + 'open" profile="docker-default" name="/'
    text = "\n".join([begin, *[piece] * 16_500, LINE.decode(), ""]).encode()
    first, second = audit_files.lines(io.BufferedReader(io.BytesIO(text)))  # type: ignore[arg-type]
    assert len(begin) < len(first) <= len(begin) + most * len(piece)
    assert second == LINE
