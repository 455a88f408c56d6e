"""The archive of a bundle: regular files alone, in order, without times and owners.

The same files make the same bytes. The reader takes a stranger's file: it extracts nothing, and has
limits. It makes each header again and compares: a link, a device, a name that leads elsewhere and
an extension of tar have another one.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from typing import IO

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MANIFEST, SIGNATURE = SEALS = ("SHA256SUMS", "SHA256SUMS.sig")  # last, as they are about the others
#: Limits: all of it, and a file that is read as a whole (bytes); the number of files; a signature,
#: which is some hundred bytes long.
WHOLE, LARGEST, MOST, _SIGNATURE = 1 << 30, 1 << 26, 200_000, 1 << 16
TOO_MUCH = f"more than {WHOLE >> 20} MiB or {MOST} files"
#: No hidden file, none that leads elsewhere, and none that is longer than tar's own field.
NAME = patterns.compile(r"(?:[a-z][a-z-]{0,28}/)?[A-Za-z0-9][\w.-]{0,68}")
_SIZE = patterns.compile(rb"[0-7]{11}")
#: A window of 8 MiB: a larger one takes more memory than any bundle needs.
_READING: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
_WRITING: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
_BLOCK, _PIECE = 512, 1 << 16


class Unsound(Exception):
    """An archive that :func:`write` does not make; the message says why."""


def write(output: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a new file that only its owner may read, or none; raises UsageError if it exists."""
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file, zstd.open(file, "wb", options=_WRITING) as tar:
            for name, content in files:
                tar.write(header(name, len(content)) + content + bytes(-len(content) % _BLOCK))
            tar.write(bytes(2 * _BLOCK))
    except BaseException:
        output.unlink(missing_ok=True)
        raise


def header(name: str, size: int) -> bytes:
    """Return the block before a regular file in a tar archive (POSIX's ustar)."""
    owner, times, checksum = "0000000\0" * 2, "00000000000\0", " " * 8
    head = f"{name:\0<100}0000600\0{owner}{size:011o}\0{times}{checksum}0{'':\0<100}ustar\00000"
    block = head.encode().ljust(_BLOCK, b"\0")
    return block[:148] + f"{sum(block):06o}\0 ".encode() + block[156:]


def entry(head: bytes) -> tuple[str, int]:
    """Return a file's name and size from the block before it; raises Unsound if it is another's."""
    name, size = head[:100].rstrip(b"\0").decode(errors="backslashreplace"), head[124:135]
    if NAME.fullmatch(name) and _SIZE.fullmatch(size) and head == header(name, int(size, 8)):
        return name, int(size, 8)
    raise Unsound(f"{name!r} is no regular file with a plain name: a link, a device, another path")


def require_one_frame(file: IO[bytes]) -> None:
    """Raise Unsound unless a file is one whole frame of zstd: each further one has its own limits.

    Its length and its blocks' heads are looked at, and nothing is decompressed.
    """
    try:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            if zstd.get_frame_size(whole) != len(whole):
                raise Unsound("it is more than one frame of zstd")
    except (zstd.ZstdError, ValueError) as error:  # mmap's, of an empty file
        raise Unsound(str(error)) from error


def read(file: IO[bytes], wanted: Container[str]) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the SHA-256 of each file by its name, and the content of those wanted."""
    try:
        with zstd.open(file, options=_READING) as tar:
            return _read(tar, wanted)
    except (zstd.ZstdError, EOFError) as error:
        raise Unsound(str(error)) from error


def _read(tar: zstd.ZstdFile, wanted: Container[str]) -> tuple[dict[str, str], dict[str, bytes]]:
    def exactly(size: int) -> bytes:
        if len(content := tar.read(size)) < size:
            raise Unsound("it is cut off")
        return content

    digests: dict[str, str] = {}
    kept: dict[str, bytearray] = {}
    room, last = WHOLE, (False, "")
    while any(head := exactly(_BLOCK)):
        name, size = entry(head)
        if (place := (name in SEALS, name)) <= last:
            raise Unsound(f"{name} occurs twice, or out of order")
        last, room = place, room - size - 2 * _BLOCK
        most = _SIGNATURE if name == SIGNATURE else LARGEST
        if room < 0 or len(digests) == MOST or (name in wanted and size > most):
            raise Unsound(f"it has {TOO_MUCH}")
        digest = hashlib.sha256()
        for at in range(0, size, _PIECE):
            digest.update(piece := exactly(min(_PIECE, size - at)))
            if name in wanted:
                kept.setdefault(name, bytearray()).extend(piece)
        digests[name] = digest.hexdigest()
        if any(exactly(-size % _BLOCK)):
            raise Unsound(f"something is hidden behind {name}")
    if any(exactly(_BLOCK)) or tar.read(1):
        raise Unsound("something follows its end")
    return digests, {name: bytes(content) for name, content in kept.items()}
