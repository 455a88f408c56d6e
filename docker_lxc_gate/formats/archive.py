"""The state of a path, and a strict reader of a tar archive with one file: its machine may lie.

The format is GNU tar's ``--format=posix``: an extended header for values that do not fit the plain
one, the header, the content, and zeros to the end. The reader refuses everything else: compressed
archives, further members, sparse files, wrong lengths, impossible numbers and times. Its time is
linear in the archive's length; the standard library's is not. Source: pax(1), GNU tar's manual on
the posix format.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from docker_lxc_gate import patterns

KINDS = {b"0": "file", b"2": "link", b"5": "directory"}

_BLOCK = 512
_IDS, _MODES, _SIZES = 1 << 32, 0o10000, 1 << 40
_TIME = patterns.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_NUMBER = patterns.compile(r"[0-9]{1,12}")
#: Extended attributes, which an extended header may hold in addition to tar's own keys.
_ATTRIBUTE = patterns.compile(r"(?s)(SCHILY\.(xattr|acl)|RHT\.security)\.[^\0=]{1,255}")
_OF_TAR = frozenset({"path", "linkpath", "size", "atime", "ctime", "mtime", "uid", "gid"})


@dataclass(frozen=True)
class FileState:
    """The state of a path: absent, a regular file, a symbolic link, or a directory.

    ``kind`` is ``absent``, ``file``, ``link`` or ``directory``; ``mtime`` a Unix time as
    decimal text, exact to the nanosecond; an empty ``mtime`` means now.

    Stored in journals: its fields are a schema
    (tests/unit/remediation/engine/test_stored_states.py).
    """

    kind: str = "absent"
    content: bytes = b""
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    def same(self, other: FileState) -> bool:
        """Whether two states are equal except for the time."""
        return replace(self, mtime="") == replace(other, mtime="")


class UnreadableArchive(ValueError):
    """The archive is not one that tar writes for one file; the text says why."""


class TooLarge(UnreadableArchive):
    """The file in the archive is larger than allowed."""


def only_member(archive: bytes, *, largest: int) -> tuple[str, FileState] | None:
    """Return the name and the state of an archive's one member.

    None if it is a device or a pipe, or the archive is empty: tar makes an empty archive of a
    socket. The caller has limited the archive; the file in it may have ``largest`` bytes. Raises
    TooLarge if it has more, UnreadableArchive if the archive has another form.
    """
    if archive and not archive.strip(b"\0"):
        return None
    extended: dict[str, str] = {}
    header, rest = _header(archive)
    if header[156:157] == b"x":
        size = _octal(header[124:136], "the extended header's length")
        extended = _extended(_exactly(rest, size))
        header, rest = _header(rest[_padded(size) :])
    kind = KINDS.get(header[156:157])
    if kind is None and header[156:157] in b"346":
        return None
    if kind is None:
        raise UnreadableArchive(f"a member of type {header[156:157]!r}")
    size = _number(extended, "size", header[124:136], _SIZES) if kind == "file" else 0
    if size > largest:
        raise TooLarge(f"{size} bytes")
    content = _exactly(rest, size)
    if rest[_padded(size) :].strip(b"\0"):
        raise UnreadableArchive("more than one member")
    time = extended.get("mtime") or str(_octal(header[136:148], "mtime"))
    if not _TIME.fullmatch(time):
        raise UnreadableArchive(f"the time {time[:40]!r}")
    prefix, name = _text(header[345:500]), _text(header[:100])
    state = FileState(
        kind=kind,
        content=content,
        link=(extended.get("linkpath") or _text(header[157:257])) if kind == "link" else "",
        mode=_number({}, "mode", header[100:108], _MODES),
        uid=_number(extended, "uid", header[108:116], _IDS),
        gid=_number(extended, "gid", header[116:124], _IDS),
        mtime=time,
        attributes={k: v for k, v in sorted(extended.items()) if k not in _OF_TAR},
    )
    return extended.get("path") or (f"{prefix}/{name}" if prefix else name), state


def _header(archive: bytes) -> tuple[bytes, bytes]:
    """Check a header's sum; return the header and the rest of the archive."""
    header = archive[:_BLOCK]
    if len(header) < _BLOCK or header[257:262] != b"ustar":
        raise UnreadableArchive("no header of a tar archive where one must be")
    bare = header[:148] + b" " * 8 + header[156:]
    if sum(bare) != _octal(header[148:156], "sum"):
        raise UnreadableArchive("a header whose sum is wrong")
    return header, archive[_BLOCK:]


def _extended(text: bytes) -> dict[str, str]:
    """Read the records of an extended header: ``LENGTH KEY=VALUE`` and a newline, each."""
    records: dict[str, str] = {}
    place = 0
    while place < len(text):
        length = patterns.match(rb"([0-9]+) ", text[place : place + 10])
        end = place + int(length[1]) if length else 0
        if not length or text[end - 1 : end] != b"\n":
            raise UnreadableArchive("an extended header that cannot be read")
        record = text[place + length.end() : end - 1]
        key, equals, value = (
            part.decode(errors="surrogateescape") for part in record.partition(b"=")
        )
        if not equals or key in records or not (key in _OF_TAR or _ATTRIBUTE.fullmatch(key)):
            raise UnreadableArchive(f"an extended header with {key[:60]!r}")
        records[key] = value
        place = end
    return records


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _exactly(rest: bytes, size: int) -> bytes:
    if len(rest) < size:
        raise UnreadableArchive(f"{len(rest)} of {size} bytes")
    return rest[:size]


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="surrogateescape")


def _octal(raw: bytes, what: str) -> int:
    digits = raw.strip(b" \0")
    if not patterns.fullmatch(rb"[0-7]{1,12}", digits):
        raise UnreadableArchive(f"{what} is {raw[:20]!r}")
    return int(digits, 8)


def _number(extended: dict[str, str], key: str, raw: bytes, end: int) -> int:
    """Return a number of the extended or the plain header, which must be below ``end``."""
    text = extended.get(key)
    if text is not None and not _NUMBER.fullmatch(text):
        raise UnreadableArchive(f"{key} is {text[:40]!r}")
    value = int(text) if text is not None else _octal(raw, key)
    if value >= end:
        raise UnreadableArchive(f"{key} is {value}")
    return value
