"""A log in files, as somebody has copied it or as a node keeps it: its lines of denials, in order.

A log may be longer than memory, so it is read in pieces, and only lines that hold a record are
looked at. Sources: auditd.conf(5) (num_logs), logrotate(8).
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from facts.audit_records import LONGEST_RECORD, MARK
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: What a line of interest holds: a denial, or what became of a change of AppArmor's policy.
MARKS = (MARK.encode(), b'apparmor="STATUS"')
#: How much is read at once (bytes). A line that is longer is taken in pieces.
_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
#: auditd's log, and what it was renamed to: by its number, or by its date.
_LOG = re.compile(r"audit\.log(?:\.([0-9]{1,6}))?(?:-([0-9-]{8,20}))?(?:\.gz)?")


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
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of a log; what is compressed by gzip is read as if it were not.

    Raises:
        FactError: it cannot be opened, or not be read to its end.
    """
    with readable(str(path)), path.open("rb") as raw:
        yield plain(raw)


@contextmanager
def readable(name: str) -> Iterator[None]:
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


def plain(raw: BinaryIO) -> BinaryIO:
    """Return a stream without its compression, if it has one."""
    stream = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
    return gzip.GzipFile(fileobj=stream) if stream.peek(2)[:2] == _GZIP else stream  # type: ignore[return-value]


def lines(stream: BinaryIO, marks: Iterable[bytes] = MARKS) -> Iterator[bytes]:
    """Yield each line that holds a mark, without its end; in memory of a few pieces.

    A line that is longer than a piece comes in several parts; no mark is torn by that.
    """
    patterns = tuple(marks)
    rest = b""
    while piece := stream.read(_PIECE):
        text = rest + piece
        end = text.rfind(b"\n") + 1 or _cut(text, patterns)
        yield from _marked(text, end, patterns)
        rest = text[end:]
    yield from _marked(rest, len(rest), patterns)


def _cut(text: bytes, marks: tuple[bytes, ...]) -> int:
    """Return where to cut what has no line end; 0: not yet."""
    if len(text) < _PIECE:
        return 0
    near = len(text) - LONGEST_RECORD
    last = max(text.rfind(mark, near) for mark in marks)
    return last if last > 0 else len(text) - max(map(len, marks))


def _marked(text: bytes, end: int, marks: tuple[bytes, ...]) -> Iterator[bytes]:
    """Yield the lines of a text that hold a mark, each once."""
    places = {mark: text.find(mark, 0, end) for mark in marks}
    while (at := min((place for place in places.values() if place >= 0), default=-1)) >= 0:
        begin = text.rfind(b"\n", 0, at) + 1
        stop = text.find(b"\n", at, end)
        stop = end if stop < 0 else stop
        yield text[begin:stop]
        for mark, place in places.items():
            if 0 <= place < stop:
                places[mark] = text.find(mark, stop, end)
