"""A log that grows, followed as ``tail -F`` does: through its rotation, its replacement, its cut.

Sources: auditd.conf(5) (max_log_file_action), logrotate(8) (create, copytruncate), tail(1).
"""

from __future__ import annotations

import io
import os
import re
import select
import stat
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from facts.audit import audit_files
from facts.audit.audit_records import AUDIT_LOG, LONGEST_RECORD
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

#: How often a file is looked at (seconds).
_EVERY = 0.5
_PIECE = 1 << 18
_COMPARED = 256
#: More pieces than a pipe holds.
_AT_ONCE = 64
#: What is behind a log's name once it was renamed: a number or a date, and how it was compressed.
_RENAMED = r"[.-][0-9][0-9.-]{0,20}(?:\.(?:gz|bz2|xz|zst))?"


class Followed(Protocol):
    """A log that is followed.

    Attributes:
        doubt: why some of its denials may not have been read; empty if all were.
        ended: whether nothing will come any more.
    """

    doubt: str
    ended: bool

    def news(self) -> Iterable[bytes]:
        """Return the lines with a denial that came since the last call."""

    def rest(self) -> Iterable[bytes]:
        """Return what is left: what came since the last call, and the line that has no end yet."""

    def wait(self) -> None:
        """Wait until it is worth to look again."""

    def close(self) -> None:
        """Let go of it."""


class Lines:
    """Takes a log's bytes as they come and gives its lines of denials, each once."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        #: What nobody has taken yet: Ctrl-C may come between two of them.
        self._found: deque[bytes] = deque()

    def told(self, more: bytes) -> Iterator[bytes]:
        """Yield the lines that have their end by now; a longer one than any record comes in parts.

        Raises:
            FactError: it is compressed, so what comes next is no line.
        """
        if not self._begun and more:
            self._begun = True
            if more.startswith(b"\x1f\x8b"):
                raise FactError("what is compressed cannot be followed: read it without --follow")
        text = self._rest + more
        end = text.rfind(b"\n") + 1
        if len(text) - end > 2 * LONGEST_RECORD:
            end = audit_files.cut(text)
        yield from self._taken(text[:end], text[end:])

    def end(self) -> Iterator[bytes]:
        """Yield the line that has no end, if it is one of a denial."""
        yield from self._taken(self._rest, b"")

    def _taken(self, text: bytes, rest: bytes) -> Iterator[bytes]:
        self._found.extend(audit_files.lines(io.BytesIO(text)))
        self._rest = rest
        while self._found:
            yield self._found.popleft()


class Piped:
    """Standard input, as ``journalctl -kf`` fills it.

    Args:
        descriptor: of the pipe.
    """

    doubt = ""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._lines, self.ended = descriptor, Lines(), False

    def news(self) -> Iterator[bytes]:
        """See :class:`Followed`."""
        for _ in range(_AT_ONCE):  # who writes without end is not listened to without end
            if self.ended or not select.select([self._descriptor], [], [], 0)[0]:
                break
            more = os.read(self._descriptor, _PIECE)
            self.ended = not more
            yield from self._lines.told(more)

    def rest(self) -> Iterator[bytes]:
        """See :class:`Followed`."""
        yield from self.news()
        yield from self._lines.end()

    def wait(self) -> None:
        """See :class:`Followed`."""
        select.select([self._descriptor], [], [], _EVERY)

    def close(self) -> None:
        """See :class:`Followed`; the pipe is another's."""


class _Open:
    """One file of a log: what is told of it, and how far."""

    def __init__(self, path: Path) -> None:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FactError(f"{path} is no file that grows: pipe it into denials - --follow")
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._lines = Lines()
        self._at = 0
        #: What is in front of that, so that a file that was cut and grew again is noticed.
        self._last = b""
        #: How often it was cut.
        self.cuts = 0
        found = os.fstat(self._file.fileno())
        self.identity = (found.st_dev, found.st_ino)

    def skip(self) -> None:
        """Begin at the end of the last whole line."""
        end = self._file.seek(0, os.SEEK_END)
        self._at = self._file.seek(max(0, end - 2 * LONGEST_RECORD))
        more = self._file.read(end - self._at)
        more = more[: more.rfind(b"\n") + 1]
        self._at = self._file.seek(self._at + len(more))
        self._last = more[-_COMPARED:]

    def news(self) -> Iterator[bytes]:
        before = os.pread(self._file.fileno(), len(self._last), self._at - len(self._last))
        if before != self._last:
            self.cuts += 1
            yield from self._lines.end()
            self._at, self._last = self._file.seek(0), b""
        while more := self._file.read(_PIECE):
            self._at += len(more)
            self._last = (self._last + more)[-_COMPARED:]
            yield from self._lines.told(more)

    def rest(self) -> Iterator[bytes]:
        return self._lines.end()

    @property
    def written(self) -> int:
        """When it was written last (nanoseconds since 1970)."""
        return os.fstat(self._file.fileno()).st_mtime_ns

    def close(self) -> None:
        self._file.close()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


class File:
    """A file of this machine.

    A file that was renamed is read on until the next one is: its writer may not know yet.

    Args:
        path: the file, or auditd's directory.
        whole: whether what is in it already is read, too.

    Raises:
        FactError: it cannot be read.
    """

    ended = False

    def __init__(self, path: Path, *, whole: bool) -> None:
        every = audit_files.files(path)
        self._path = path / Path(AUDIT_LOG).name if path.is_dir() else path
        self.doubt = ""
        self._older: list[_Open] = []
        #: Read once, to their ends: the rotated files of a directory.
        self._past = [each for each in every if each != self._path] if whole else []
        with audit_files.read_errors(str(self._path)):
            self._file = _Open(self._path)
            if not whole:
                self._file.skip()

    def news(self) -> Iterator[bytes]:
        """See :class:`Followed`.

        Raises:
            FactError: it cannot be read any more.
        """
        while self._past:
            with audit_files.opened(self._past.pop(0)) as stream:
                yield from audit_files.lines(stream)
        with audit_files.read_errors(str(self._path)):
            for each in self._older:
                yield from each.news()
            yield from self._of(self._file)
            if self._replaced():
                yield from self._next()

    def _of(self, file: _Open) -> Iterator[bytes]:
        before = file.cuts
        yield from file.news()
        if file.cuts != before:
            self.doubt = f"{self._path} was cut while it was followed: what was in it last is gone"

    def _replaced(self) -> bool:
        """Whether another file has the name. One that is gone may come again: see tail(1)."""
        try:
            return _identity(self._path) != self._file.identity
        except FileNotFoundError:
            return False

    def _next(self) -> Iterator[bytes]:
        """Go to the file that has the name now, through those in between."""
        newer = self._newer()
        if not newer:
            return
        yield from self._of(self._file)  # what came before it was renamed
        past = self._older
        for each in past:
            yield from each.rest()
        self._older, self._file = [self._file, *newer[:-1]], newer[-1]
        for each in past:
            each.close()
        for each in newer:
            yield from each.news()

    def _newer(self) -> list[_Open]:
        """Open the files that came after ours, oldest first; none while they are being renamed."""
        try:
            with ExitStack() as stack:
                opened = []
                for path in (*self._between(), self._path):
                    opened.append(_Open(path))
                    stack.callback(opened[-1].close)
                there = [_identity(path) for path in (*self._between(), self._path)]
                if there != [each.identity for each in opened]:
                    return []
                stack.pop_all()
                return opened
        except FileNotFoundError:
            return []

    def _between(self) -> list[Path]:
        """Return the files that came after ours and were renamed, too, oldest first."""
        name, ours = re.escape(self._path.name), self._file.identity
        every = [each for each in self._path.parent.iterdir() if each.is_file()]
        found = {each: re.fullmatch(rf"{name}\.([0-9]{{1,6}})", each.name) for each in every}
        numbered = {int(number[1]): each for each, number in found.items() if number}
        for number, path in numbered.items():
            if _identity(path) == ours:
                return [numbered[each] for each in sorted(numbered, reverse=True) if each < number]
        for each in every:
            renamed = re.fullmatch(f"{name}{_RENAMED}", each.name) and _identity(each) != ours
            if renamed and each.stat().st_mtime_ns > self._file.written:
                self.doubt = (
                    f"{self._path} was renamed to a name that does not tell the order: what came "
                    "before the file that has its name now may be missing"
                )
        return []

    def rest(self) -> Iterator[bytes]:
        """See :class:`Followed`."""
        yield from self.news()
        for each in (*self._older, self._file):
            yield from each.rest()

    def wait(self) -> None:
        """See :class:`Followed`."""
        time.sleep(_EVERY)

    def close(self) -> None:
        """See :class:`Followed`."""
        for each in (*self._older, self._file):
            each.close()
