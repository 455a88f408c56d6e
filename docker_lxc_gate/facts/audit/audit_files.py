"""A log in files, as somebody has copied it or as a node keeps it: its lines of denials, in order.

A log may be longer than memory, so it is read line by line. Most pieces of it hold no sign of a
record, and RE2 finds that out as fast as ``grep`` does. Sources: auditd.conf(5) (num_logs),
logrotate(8).
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
from typing import Any, BinaryIO

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError

#: The mark of what became of a change of AppArmor's policy.
STATUS = patterns.compile('apparmor="STATUS"')
#: ``DENIED`` and ``KILLED`` as the journal's JSON has them in a message that is no plain text.
BYTES = ("68,69,78,73,69,68", "75,73,76,76,69,68")
#: What a line of interest holds: a denial, a change of policy, or a denial in another form. The
#: fourth is also in what follows where a terminal or a mail broke the line within the word. In JSON
#: of the journal a message may be left out.
_SIGN = patterns.compile(
    "|".join(
        ("DENIED", "KILLED", "STATUS", 'D" operation="', *BYTES, '"MESSAGE"(?::null| : )')
    ).encode()
)
_RECORD = patterns.compile(b'apparmor="(?:DENIED|KILLED)"')
#: The fields of AppArmor's records. Source: kernel security/apparmor, dbus-daemon.
_FIELD = (
    b"(?:apparmor|operation|class|info|error|profile|label|namespace|name|pid|comm|(?:requested|denied)"
    b"(?:_mask)?|fsuid|ouid|family|sock_type|protocol|addr|peer(?:_[a-z]+)?|fstype|srcname|flags|"
    b"target|capability|capname|signal|rlimit|value|bus|path|interface|member|mask|tcontext)="
)
#: The rest of a record where its line was broken: what is left of a word, or of a value within
#: quotes, and fields.
_RESTS = {
    is_open: patterns.compile(
        b"[ \\t]*" + broken + b"(?:" + _FIELD + b'(?:"[^"\n]*"?|[^\\s"]*)[ \\t]*)*[a-z_]*\\s*'
    )
    for is_open, broken in (
        (True, b'(?:[^"\n]*"[ \\t]*|[^\\s"]+)'),
        (False, b'(?:"[^"\n]*"?|[^\\s="]*(?:="[^"\n]*"?|=[^\\s"]*)?)[ \\t]*'),
    )
}
_WHOLE, _BEGINS = patterns.compile(b'(?:"|=[^\\s"=]+)$'), patterns.compile(_FIELD)
_KEY = patterns.compile(b"[A-Za-z0-9_]+=")
#: To a longer record (bytes), or one of so many lines, no rest is joined.
_LONGEST_RECORD, _MOST_PIECES = 1 << 12, 12
#: How wide terminals are (characters), which break a line within a word.
_WIDTHS = (79, 80, 100, 120, 132)
#: How much is searched for a sign at once (bytes): little enough for a processor's cache.
_PIECE = 1 << 18
#: The longest line (bytes); of a file, a longer one is read in parts.
_LONGEST_LINE = 64 << 20
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


def files(path: Path) -> list[Path]:
    """Return the files of a log, oldest first: one file, or all of auditd's in a directory.

    Raises FactError if there is no such file, or no auditd's log in the directory.
    """
    try:
        if not path.is_dir():
            return [path]
        names = {file: _LOG.fullmatch(file.name) for file in path.iterdir() if file.is_file()}
    except OSError as error:
        raise FactError(f"{path} cannot be read: {error.strerror}") from error
    logs = {file: match for file, match in names.items() if match}
    if not logs:
        raise FactError(f"{path} holds no audit.log; name the file that is to be read")
    dated = sorted((match[2], file) for file, match in logs.items() if match[2])
    numbered = sorted((-int(m[1] or 0), file) for file, m in logs.items() if not m[2])
    return [file for _, file in (*dated, *numbered)]


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """Open a file of a log, unpacked if it is of gzip; raises FactError if it cannot be read."""
    with read_errors(str(path)), path.open("rb", buffering=0) as raw:
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


def decompressed(raw: BinaryIO | io.RawIOBase) -> io.BufferedReader | gzip.GzipFile:
    """Return a stream without its compression, if it has one.

    What somebody types or pastes into a terminal is read up to the first end of it (Ctrl-D). Raises
    OSError for another device, such as /dev/zero, and for what is no text.
    """
    if raw.isatty():
        return _buffered(io.BytesIO(raw.read()))
    _refuse_device(raw)
    stream = _buffered(raw)
    head = stream.peek(8)[:8]
    if head[1::2] == bytes(4) and all(head[::2]):  # the same without a mark of its order
        head = b"\xff\xfe"
    for begin, reader in _TURNED.items():
        if head.startswith(begin):
            raise OSError(f"it is no text; pipe {reader} FILE into docker-lxc-gate denials -")
    return gzip.GzipFile(fileobj=stream) if head.startswith(_GZIP) else stream


def _buffered(raw: Any) -> io.BufferedReader:
    return raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw, _PIECE)


def _refuse_device(raw: BinaryIO | io.RawIOBase) -> None:
    with suppress(io.UnsupportedOperation):
        state, empty = os.fstat(raw.fileno()), Path(os.devnull).stat()
        endless = stat.S_ISCHR(state.st_mode) and state.st_rdev != empty.st_rdev
        if endless or stat.S_ISBLK(state.st_mode):
            raise OSError(f"it is a device and no log; {_NAME_A_LOG}")


def lines(stream: io.BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
    """Yield each line that may hold a record, in whatever form, without its end.

    Raises OSError for a pipe without line ends, which may have no end.
    """
    # gzip says that it can seek, whatever it reads from.
    source: Any = stream.fileobj if isinstance(stream, gzip.GzipFile) else stream
    line = b""
    while line or (piece := stream.peek(1)):
        if not line:
            sign = _SIGN.search(piece)
            others = piece.rfind(b"\n", 0, sign.start() if sign else len(piece)) + 1
            stream.read(others)
            if others and not sign:
                continue
            line = _line(stream, source)
        after, pieces = b"", 1
        while _RECORD.search(line) and pieces < _MOST_PIECES:
            pieces += 1
            after = _line(stream, source)
            if not (whole := _joined(line, after)):
                break
            line, after = whole, b""
        if _SIGN.search(line):
            yield line.removesuffix(b"\n")
        line = after


def _line(stream: io.BufferedReader | gzip.GzipFile, source: Any) -> bytes:
    line = stream.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE and not source.seekable():
        size = f"{_LONGEST_LINE >> 20} MiB"
        raise OSError(f"no line ends in {size}, so it is no log; {_NAME_A_LOG}")
    return line


def _joined(line: bytes, after: bytes) -> bytes:
    """Return a record and its rest, where a terminal or a mail broke it; empty if it is no rest.

    A terminal breaks anywhere and drops nothing. A mail breaks at a blank, and drops it. The kernel
    writes a name with a blank in hexadecimal.
    """
    margin = line[: len(line) - len(line.lstrip(b" \t>|"))]
    begin, rest = line.rstrip(b"\r\n"), after.removeprefix(margin).rstrip(b"\r\n")
    record = begin[begin.rfind(b"apparmor=") :]
    is_open = record.count(b'"') % 2 == 1
    if not rest or len(line) > _LONGEST_RECORD or not _RESTS[is_open].fullmatch(rest):
        return b""
    if not (
        is_open or b"=" in rest or begin.endswith(b"=") or patterns.fullmatch(rb"[0-9]+", rest)
    ):
        return b""
    if is_open:
        words = record.rpartition(b'="')[0].endswith(b"info") and len(begin) not in _WIDTHS
        blank = (begin.endswith(b",") or words) and not rest.startswith(b" ")
    else:
        blank = bool(_WHOLE.search(begin) and _BEGINS.match(rest))
    whole = begin + b" " * blank + rest
    keys = _KEY.findall(whole[begin.rfind(b" ") + 1 :])
    known = all(map(_BEGINS.fullmatch, keys))
    return whole if known and (keys or is_open) else b""
