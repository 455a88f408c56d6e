"""Fixing what is certain: text in, text out, and then the file, with a copy of what was there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.container_config import split_lines
from docker_lxc_gate.machines import regular_file

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Edit, Finding


def edited(content: bytes, edits: Iterable[Edit]) -> bytes:
    """Return linted content with the edits of its file; of two of one line the first counts."""
    lines = split_lines(content.decode("utf-8", "surrogateescape"))
    taken: set[int] = set()
    for edit in sorted(edits, key=lambda edit: edit.line, reverse=True):
        places = set(range(edit.line - 1, edit.line - 1 + edit.count))
        if not places & taken:
            taken |= places
            last = lines[max(places)]
            end = last[len(last.rstrip("\r\n")) :]
            lines[min(places) : max(places) + 1] = [f"{edit.new}{end}"]
    return "".join(lines).encode("utf-8", "surrogateescape")


def certain(findings: Sequence[Finding]) -> dict[str, list[Edit]]:
    """Return the edits that are certain, by file."""
    by_file: dict[str, list[Edit]] = {}
    for finding in findings:
        if finding.edit is not None:
            by_file.setdefault(finding.path, []).append(finding.edit)
    return by_file


def write(path: str, before: bytes, after: bytes) -> str:
    """Replace a file's content, and keep a copy of what was there next to it.

    The mode stays. pmxcfs lets nobody set modes or owners, and that is no error. The directory is
    opened once: its owner can put a link in the place of any part of the path.

    Of a link, what it leads to is replaced, if it is still as linted: ``before``. Return the copy's
    path. Raises FactError if the file was changed since it was linted, or cannot be written.
    """
    place = Path(os.path.realpath(path))
    try:
        folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            copy = _written(folder, place.name, before, after)
        finally:
            os.close(folder)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise FactError(f"{path} cannot be fixed: {why}") from error
    return str(place.with_name(copy))


def _written(folder: int, name: str, before: bytes, after: bytes) -> str:
    """Write a file of an open directory; return the copy's name."""
    with regular_file.opened(name, folder) as file:
        if file.read(len(before) + 1) != before:
            raise ValueError("it was changed since it was linted; nothing was written to it")
        about = os.fstat(file.fileno())
    for number in count(1):
        copy = f"{name}.bak{number if number > 1 else ''}"
        with suppress(FileExistsError):
            _new(folder, copy, before, about)
            break
    new = f"{name}.lint-new"
    try:
        _new(folder, new, after, about)
        os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder)
    return copy


def _new(folder: int, name: str, content: bytes, about: os.stat_result) -> None:
    """Write a file that is not there yet, and give it another one's owner and mode.

    All by the open file: whoever may write in the directory could put a link in its place.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        with suppress(OSError):
            os.fchown(file.fileno(), about.st_uid, about.st_gid)
        with suppress(OSError):
            os.fchmod(file.fileno(), about.st_mode & 0o7777)
        os.fsync(file.fileno())
