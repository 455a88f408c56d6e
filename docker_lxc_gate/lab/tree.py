"""Files to be laid over a root filesystem: as values, as a digest, as a tar archive."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

Tree: TypeAlias = "Mapping[str, Entry]"
#: The time of every file, in the tree's archives. Not 0: dnsmasq takes a resolv.conf of 1970
#: for one that it has read already.
_TIME = 1735689600
#: Never part of what is installed.
_LEFTOVERS = frozenset({"__pycache__", ".git", ".mypy_cache", ".ruff_cache"})


@dataclass(frozen=True)
class Entry:
    """A file of root's, or with ``link`` a symbolic link."""

    content: bytes = b""
    mode: int = 0o644
    link: str = ""


def text(content: str, mode: int = 0o644) -> Entry:
    """Return a file with this text."""
    return Entry(content.encode(), mode)


def folder(source: Path, at: str) -> dict[str, Entry]:
    """Return every file below ``source``, placed below ``at``; {} if there is no such folder.

    Of a file's mode only "executable by its owner" is kept, as git does.
    """
    entries = {}
    for path in sorted(source.rglob("*")):
        inner = path.relative_to(source)
        if path.is_dir() or _LEFTOVERS.intersection(inner.parts):
            continue
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        entries[f"{at}/{inner}"] = Entry(path.read_bytes(), mode)
    return entries


def digest(*parts: object) -> str:
    """Return 16 hex digits over ``parts``: values for JSON, and trees."""
    text_of = json.dumps(parts, sort_keys=True, default=_described)
    return hashlib.sha256(text_of.encode()).hexdigest()[:16]


def _described(value: object) -> object:
    if isinstance(value, Entry):
        return [hashlib.sha256(value.content).hexdigest(), value.mode, value.link]
    raise TypeError(f"a recipe cannot hold {type(value).__name__}")


def archive(tree: Tree) -> bytes:
    """Return the tree as an uncompressed tar archive, the same bytes for the same tree."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out:
        _append(out, tree)
    return buffer.getvalue()


def lay_over(base: IO[bytes], tree: Tree, drop: Iterable[str], out: IO[bytes]) -> dict[str, bytes]:
    """Copy the tar archive ``base`` to ``out`` with the tree's files in place of its own.

    Names are written as plain bytes (GNU format): mke2fs cannot read the UTF-8 names of pax
    headers. The extended attributes that pax headers carry are lost with them; in these
    images that is the journal folder's ACL.

    Args:
        base: an uncompressed tar archive, as mmdebstrap writes it.
        tree: what to lay over it.
        drop: path prefixes to leave out, without a leading slash.
        out: where the new archive goes; need not be seekable.

    Returns:
        The content of the kernel and the initial RAM disk in ``base`` by the stem of their
        names (``vmlinuz``, ``initrd.img``), if it has them. ``out`` has neither, nor a hard link
        to one, as that below ``usr/lib/modules`` since Debian's kernel 7.
    """
    prefixes, boot = tuple(drop), {}
    with (
        tarfile.open(fileobj=base, mode="r|") as source,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as target,
    ):
        for member in source:
            name = member.name.removeprefix("./")
            if f"/{name}" in tree or name.startswith(prefixes):
                continue
            member.pax_headers = {}
            content = source.extractfile(member) if member.isreg() else None
            if content and (stem := _boot_stem(name)):
                boot[stem] = content.read()
            elif not (member.islnk() and _boot_stem(member.linkname.removeprefix("./"))):
                target.addfile(member, content)
        _append(target, tree)
    return boot


def _boot_stem(name: str) -> str:
    stem = name.removeprefix("boot/").partition("-")[0]
    return stem if name.startswith("boot/") and stem in {"vmlinuz", "initrd.img"} else ""


def _append(out: tarfile.TarFile, tree: Tree) -> None:
    for path, entry in sorted(tree.items()):
        member = tarfile.TarInfo(f".{path}")
        member.mode, member.size, member.mtime = entry.mode, len(entry.content), _TIME
        if entry.link:
            member.type, member.linkname = tarfile.SYMTYPE, entry.link
        out.addfile(member, io.BytesIO(entry.content))
