"""Fixing what is certain: text in, text out, and then the file, with a copy of what was there."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.container_config import split_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from docker_lxc_gate.lint.finding import Edit, Finding


def edited(content: bytes, edits: Iterable[Edit]) -> bytes:
    """Return linted content with the edits of its file; of two of one line the first counts."""
    lines = split_lines(content.decode("utf-8", "surrogateescape"))
    taken: set[int] = set()
    for edit in sorted(edits, key=lambda each: each.line, reverse=True):
        places = set(range(edit.line, edit.line + edit.count))
        if edit.executable or places & taken or not places:
            continue
        taken |= places
        last = lines[edit.line + edit.count - 2]
        end = "\r\n" if last.endswith("\r\n") else "\n"
        new = [f"{text}{end}" for text in edit.new]
        if not last.endswith("\n") and new:
            new[-1] = new[-1].removesuffix(end)
        lines[edit.line - 1 : edit.line - 1 + edit.count] = new
    return "".join(lines).encode("utf-8", "surrogateescape")


def certain(found: Sequence[Finding]) -> dict[str, list[Edit]]:
    """Return the edits that are certain, by file."""
    by_file: dict[str, list[Edit]] = {}
    for each in found:
        if each.edit is not None:
            by_file.setdefault(each.path, []).append(each.edit)
    return by_file


def write(path: str, before: bytes, after: bytes, *, executable: bool) -> str:
    """Replace a file's content, and keep a copy of what was there next to it.

    The mode stays. pmxcfs lets nobody set modes or owners, and that is no error.

    Args:
        path: the file; of a link, what it leads to.
        before: what was linted.
        after: what is written.
        executable: whether everybody who may read it may execute it, too.

    Returns:
        The copy's path; empty if no content changed.

    Raises:
        FactError: the file was changed since it was linted, or cannot be written.
    """
    place = Path(path).resolve()
    try:
        if place.read_bytes() != before:
            raise FactError(f"{path} was changed since it was linted; nothing was written to it")
        copy = _replaced(place, before, after) if after != before else ""
        if executable:
            _make_executable(place)
    except OSError as error:
        raise FactError(f"{path} cannot be fixed: {error.strerror}") from error
    return copy


def _replaced(place: Path, before: bytes, after: bytes) -> str:
    copies = (f"{place}.bak{number if number > 1 else ''}" for number in count(1))
    copy = Path(next(name for name in copies if not os.path.lexists(name)))
    about = place.stat()
    _new(copy, before, about)
    new = Path(f"{place}.lint-new")
    try:
        _new(new, after, about)
        new.replace(place)
    finally:
        new.unlink(missing_ok=True)
    return str(copy)


def _make_executable(place: Path) -> None:
    opened = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(opened).st_mode & 0o777
        os.fchmod(opened, mode | (mode & 0o444) >> 2)
    finally:
        os.close(opened)


def _new(path: Path, content: bytes, about: os.stat_result) -> None:
    """Write a file that is not there yet, and give it another one's owner and mode.

    All by the open file: whoever may write in the directory could put a link in its place.
    """
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(content)
        file.flush()
        with suppress(OSError):
            os.fchown(opened, about.st_uid, about.st_gid)
        with suppress(OSError):
            os.fchmod(opened, about.st_mode & 0o7777)
        os.fsync(opened)
