"""A log in files, as somebody has copied it or as a node keeps it: its lines of denials, in order.

A log may be longer than memory, so it is read in pieces. Most pieces hold no record of interest:
RE2 skips them as fast as ``grep`` does. Sources: auditd.conf(5) (num_logs), logrotate(8).
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit.audit_records import LONGEST_RECORD

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: What a line of interest holds: a denial, or what became of a change of AppArmor's policy.
STATUS = patterns.compile('apparmor="STATUS"')
#: The last one is also in what follows where a terminal or a mail broke the line within the word.
_SIGNS = (b"DENIED", b"KILLED", b"STATUS", b'D" operation="')
#: ``DENIED`` and ``KILLED`` as the journal's JSON has them in a message that is no plain text.
BYTES = ("68,69,78,73,69,68", "75,73,76,76,69,68")
#: In JSON of the journal: also messages that are bytes, or may be left out.
_IN_JSON = (*_SIGNS, *map(str.encode, BYTES), b'"MESSAGE":null', b'"MESSAGE" : ')
#: How what has a sign begins.
_BEGINS = (b"apparmor", *map(str.encode, BYTES), b'"MESSAGE"')
_LONGEST_MARK = 32
#: How much is read at once (bytes): little enough for a processor's cache. A line that is longer is
#: taken in parts.
_PIECE = 1 << 18
#: How many bytes without a line end are read of what may have no end, such as a pipe.
_LONGEST_LINE = 64 << 20
#: What goes wrong while a file is read.
_CUT = (EOFError, zlib.error, OSError)
#: What to do instead of reading what is no log.
_NAME_A_LOG = "name a file, or pipe a log into docker-lxc-gate denials -"
_GZIP = b"\x1f\x8b"
#: How other files begin, and what turns them into text.
_TURNED = {
    b"\xfd7zXZ": "xzcat",
    b"\x28\xb5\x2f\xfd": "zstdcat",
    b"BZh": "bzcat",
    b"PK\x03\x04": "unzip -p",
    b"LPKSHHRH": "journalctl -k --file",
    b"\xff\xfe": "iconv -f utf16",
    b"\xfe\xff": "iconv -f utf16",
}
#: auditd's log, and what it was renamed to: by its number, or by its date.
_LOG = patterns.compile(
    r"audit\.log(?:\.([0-9]{1,6}))?(?:-([0-9-]{8,20}))?(?:\.(?:gz|xz|zst|bz2))?"
)


class Readable(Protocol):
    """What a log is read from."""

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read as much as there is, or as has room; return how many bytes."""


def files(path: Path) -> list[Path]:
    """Return the files of a log, oldest first: one file, or all of auditd's in a directory.

    Raises FactError if there is no such file, or no auditd's log in the directory.
    """
    try:
        if not path.is_dir():
            return [path]
        names = {each: _LOG.fullmatch(each.name) for each in path.iterdir() if each.is_file()}
    except OSError as error:
        raise FactError(f"{path} cannot be read: {error.strerror}") from error
    found = {each: match for each, match in names.items() if match}
    if not found:
        raise FactError(f"{path} holds no audit.log; name the file that is to be read")
    dated = sorted((match[2], each) for each, match in found.items() if match[2])
    numbered = sorted((-int(m[1] or 0), each) for each, m in found.items() if not m[2])
    return [each for _, each in (*dated, *numbered)]


@contextmanager
def opened(path: Path) -> Iterator[Readable]:
    """Open a file of a log, unpacked if it is of gzip; raises FactError if it cannot be read."""
    with read_errors(str(path)), path.open("rb") as raw:
        yield decompressed(raw)


@contextmanager
def read_errors(name: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read into FactError: it cannot be read to its end."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FactError(f"{name} cannot be read to its end: {error}") from error
    except OSError as error:
        raise FactError(f"{name} cannot be read: {error.strerror or error}") from error


def decompressed(raw: BinaryIO | io.RawIOBase) -> Readable:
    """Return a stream without its compression, if it has one.

    What somebody types or pastes into a terminal is read up to the first end of it (Ctrl-D). Raises
    OSError for another device, such as /dev/zero, and for what is no text.
    """
    if raw.isatty():
        return io.BytesIO(raw.read())
    _refuse_device(raw)
    stream = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
    longest = None if stream.seekable() else _LONGEST_LINE
    head = stream.peek(8)[:8]
    if head[1::2] == bytes(4) and all(head[::2]):  # the same without a mark of its order
        head = b"\xff\xfe"
    for begin, reader in _TURNED.items():
        if head.startswith(begin):
            raise OSError(f"it is no text; pipe {reader} FILE into docker-lxc-gate denials -")
    if head.startswith(_GZIP):
        return _AsItComes(gzip.GzipFile(fileobj=stream), longest)
    return stream if stream.seekable() else _AsItComes(stream, longest)


def _refuse_device(raw: BinaryIO | io.RawIOBase) -> None:
    with suppress(io.UnsupportedOperation):
        state, empty = os.fstat(raw.fileno()), Path(os.devnull).stat()
        endless = stat.S_ISCHR(state.st_mode) and state.st_rdev != empty.st_rdev
        if endless or stat.S_ISBLK(state.st_mode):
            raise OSError(f"it is a device and no log; {_NAME_A_LOG}")


class _AsItComes(io.RawIOBase):
    """Returns what there is without waiting for more; all of a file that was cut, then the error.

    Args:
        file: a pipe, or what unpacks a file.
        longest: how many bytes without a line end are read; None: any number.
    """

    def __init__(self, file: io.BufferedReader[Any] | gzip.GzipFile, longest: int | None) -> None:
        self._file, self._longest = file, longest
        self._without_end = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        text = self._file.read1(len(room))
        room[: len(text)] = text
        self._without_end = 0 if b"\n" in text else self._without_end + len(text)
        if self._longest is not None and self._without_end > self._longest:
            size = f"{self._longest >> 20} MiB"
            raise OSError(f"no line ends in {size}, so it is no log; {_NAME_A_LOG}")
        return len(text)


def lines(stream: Readable) -> Iterator[bytes]:
    """Yield each line that may hold a record, in whatever form; in memory of a few pieces.

    Each comes without its end. A line that is longer than a piece comes in several parts, which
    tears no sign of a record.
    """
    piece = bytearray(_PIECE)
    free = memoryview(piece)
    signs: tuple[bytes, ...] = _SIGNS
    held = 0
    try:
        while count := stream.readinto(free[held:]):
            if piece.find(b'"MESSAGE"', 0, LONGEST_RECORD) >= 0:
                signs = _IN_JSON
            filled = held + count
            end = piece.rfind(b"\n", 0, filled) + 1
            if not end and filled == len(piece):
                end = _cut(piece)
            yield from _marked(piece, end, signs)
            held = filled - end
            piece[:held] = piece[end:filled]
    except _CUT:
        yield from _marked(piece, held, signs)
        raise
    yield from _marked(piece, held, signs)


def _cut(piece: bytes | bytearray) -> int:
    """Return where to cut what has no line end: before the last record, if it may go on."""
    near = len(piece) - LONGEST_RECORD
    last = max(piece.rfind(begin, near) for begin in _BEGINS)
    return len(piece) - _LONGEST_MARK if last < 0 else last


def _marked(piece: bytearray, end: int, signs: tuple[bytes, ...]) -> Iterator[bytes]:
    """Yield the lines at the begin of a piece that hold a sign, each once."""
    text, stop = bytes(memoryview(piece)[:end]), 0
    for at in sorted(at for sign in signs for at in _places(text, sign)):
        if at >= stop:
            begin = text.rfind(b"\n", stop, at) + 1 or stop
            line_end = text.find(b"\n", at)
            stop = end if line_end < 0 else line_end
            yield text[begin:stop]


def _places(text: bytes, sign: bytes) -> Iterator[int]:
    """Yield where a sign begins; most texts have none, which RE2 finds out faster than Python."""
    at = text.find(sign) if patterns.search(sign, text) else -1
    while at >= 0:
        yield at
        at = text.find(sign, at + 1)
