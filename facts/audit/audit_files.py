"""A log in files, as somebody has copied it or as a node keeps it: its lines of denials, in order.

A log may be longer than memory, so it is read in pieces. Most pieces hold no record of interest:
the C library skips them as fast as ``grep`` does. Sources: auditd.conf(5) (num_logs), logrotate(8).
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol

from facts.audit.audit_records import LONGEST_RECORD, MARK
from facts.audit.byte_search import Search
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import WriteableBuffer

#: What a line of interest holds: a denial, or what became of a change of AppArmor's policy.
STATUS = MARK.replace("DENIED", "STATUS")
_MARKS = (MARK.encode(), STATUS.encode())
_ANY_MARK = re.compile(b"|".join(map(re.escape, _MARKS)))
_LONGEST_MARK = 32
#: How much is read at once (bytes): little enough for a processor's cache. A line that is longer is
#: taken in parts.
_PIECE = 1 << 18
#: What goes wrong while a file is read.
_CUT = (EOFError, zlib.error, OSError)
_GZIP = b"\x1f\x8b"
#: auditd's log, and what it was renamed to: by its number, or by its date.
_LOG = re.compile(r"audit\.log(?:\.([0-9]{1,6}))?(?:-([0-9-]{8,20}))?(?:\.gz)?")


class Readable(Protocol):
    """What a log is read from."""

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read as much as there is, or as has room; return how many bytes."""


def files(path: Path) -> list[Path]:
    """Return the files of a log, oldest first: one file, or all of auditd's in a directory.

    Raises:
        FactError: there is no such file, or no auditd's log in the directory.
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
    """Open a file of a log; what is compressed by gzip is read as if it were not.

    Raises:
        FactError: it cannot be opened, or not be read to its end.
    """
    with read_errors(str(path)), path.open("rb") as raw:
        yield decompressed(raw)


@contextmanager
def read_errors(name: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an error of ours.

    Raises:
        FactError: it cannot be read to its end.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FactError(f"{name} cannot be read to its end: {error}") from error
    except OSError as error:
        raise FactError(f"{name} cannot be read: {error.strerror or error}") from error


def decompressed(raw: BinaryIO) -> Readable:
    """Return a stream without its compression, if it has one.

    What somebody types or pastes into a terminal is read up to the first end of it (Ctrl-D).
    """
    if raw.isatty():
        return io.BytesIO(raw.read())
    stream = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
    return _Unpacked(stream) if stream.peek(2)[:2] == _GZIP else stream


class _Unpacked(io.RawIOBase):
    """Tells all that can be unpacked before the error of a file that was cut."""

    def __init__(self, packed: BinaryIO) -> None:
        self._file = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        text = self._file.read1(len(room))
        room[: len(text)] = text
        return len(text)


def lines(stream: Readable) -> Iterator[bytes]:
    """Yield each line that holds a mark, without its end; in memory of one piece.

    A line that is longer than a piece comes in several parts; no mark is torn by that.
    """
    piece = bytearray(_PIECE)
    free = memoryview(piece)
    search = Search(piece, _MARKS)
    held = 0
    try:
        while count := stream.readinto(free[held:]):
            filled = held + count
            end = piece.rfind(b"\n", 0, filled) + 1
            if not end and filled == len(piece):
                end = cut(piece)
            yield from _marked(piece, end, search)
            held = filled - end
            piece[:held] = piece[end:filled]
    except _CUT:
        yield from _marked(piece, held, search)
        raise
    yield from _marked(piece, held, search)


def cut(piece: bytes | bytearray) -> int:
    """Return where to cut what has no line end: before the last record, if it may go on."""
    near = len(piece) - LONGEST_RECORD
    begun = [found.start() for found in _ANY_MARK.finditer(piece, near)]
    return begun[-1] if begun else len(piece) - _LONGEST_MARK


def _marked(text: bytearray, end: int, search: Search) -> Iterator[bytes]:
    """Yield the lines of a text that hold a mark, each once."""
    stop = 0
    for at in search.places(end):
        if at >= stop:
            begin = text.rfind(b"\n", stop, at) + 1 or stop
            line_end = text.find(b"\n", at, end)
            stop = end if line_end < 0 else line_end
            yield bytes(text[begin:stop])
