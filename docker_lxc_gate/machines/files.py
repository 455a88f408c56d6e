"""The whole state of one path, captured and restored exactly.

GNU tar is the codec: one command reads content, mode, owner, times to the nanosecond and
extended attributes of a path on any machine, another one restores them. Source: tar(1), pax(5).
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from pathlib import PurePosixPath

from docker_lxc_gate.errors import FactError, LimitExceeded
from docker_lxc_gate.formats import archive
from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines.read import ABSENT, Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport

#: Writes a path, with all that :class:`FileState` holds.
CREATE = (
    *("env", "LC_ALL=C", "tar", "--create", "--file=-", "--format=posix"),
    *("--xattrs", "--xattrs-include=*", "--acls"),
    *("--no-recursion", "--numeric-owner", "--absolute-names", "--"),
)
#: Unpacks under a temporary name, syncs and renames: a reader sees the old file or the new one,
#: even after a crash. Removes the temporary file of an interrupted run first.
_RESTORE = (
    'set -e; d=$(dirname -- "$1"); new="$d/$2"; trap \'rm -f -- "$new"\' EXIT; rm -f -- "$new"; '
    "tar --extract --file=- ${3:+$3} --xattrs --xattrs-include='*' --acls --numeric-owner "
    '--preserve-permissions --same-owner --unlink-first -C "$d"; '
    'test -L "$new" || sync "$new"; mv -fT -- "$new" "$1"; '
    'test -z "$4" || touch -hd "@$4" -- "$1"; sync "$d"'  # pmxcfs gives a renamed file a new time
)
_REMOVE = 'set -e; d=$(dirname -- "$1"); rm -f -- "$@"; test ! -d "$d" || sync "$d"'
#: The largest file that is captured, and room for tar's headers, attributes and end (bytes).
LARGEST, _HEADERS = 1 << 20, 256 << 10


def content(state: FileState) -> bytes | None:
    """Return a regular file's content, or None if the path is anything else."""
    return state.content if state.kind == "file" else None


def capture(on: Transport, path: str) -> FileState:
    """Return the state of ``path``.

    Raises CommandFailed if it cannot be read; FactError if it is a device, socket or pipe, if it is
    larger than ``LARGEST``, which must fit into memory and the journal, or if the machine sent an
    invalid archive.
    """
    try:
        result = on.ask(Read((*CREATE, path), lambda answer: answer, limit=LARGEST + _HEADERS))
    except LimitExceeded as error:
        if error.late:
            raise
        raise _too_large(on, path) from None
    if result.exit_code and b"Cannot stat: " + ABSENT in result.stderr:
        return FileState()
    try:
        member = archive.only_member(result.require().stdout, largest=LARGEST)
    except archive.TooLarge:
        raise _too_large(on, path) from None
    except archive.UnreadableArchive as error:
        raise FactError(
            f"on {on.machine}: {path} cannot be captured: the archive that tar there wrote cannot "
            f"be read ({error}). Is it GNU tar?"
        ) from error
    if member is None:
        raise FactError(f"on {on.machine}: {path} is neither a file, a link nor a directory")
    name, state = member
    if name.rstrip("/") != path.rstrip("/"):
        raise FactError(f"on {on.machine}: tar was asked for {path}, and sent {name!r:.200}")
    return state


def _too_large(on: Transport, path: str) -> FactError:
    size = on.look(["stat", "-c", "%s", "--", path]).text.strip()
    return FactError(
        f"on {on.machine}: {path} is too large ({size} bytes): a file that apply changes may have "
        f"at most {LARGEST >> 20} MiB, because rollback must be able to restore it. Look at the "
        "file, and move it away"
    )


def unlike(now: FileState, left: FileState) -> list[str]:
    """Return the differences in mode, owner and attributes, which no diff of contents shows."""
    names = {n for n, _ in now.attributes.items() ^ left.attributes.items()}
    differing = {
        f"mode {left.mode:o} -> {now.mode:o}": now.mode != left.mode,
        f"owner {left.uid}:{left.gid} -> {now.uid}:{now.gid}": (now.uid, now.gid)
        != (left.uid, left.gid),
        f"attributes {', '.join(map(_shown, sorted(names)))}": bool(names),
    }
    return [words for words, differs in differing.items() if differs]


def _shown(attribute: str) -> str:
    """Return an attribute's name without tar's prefix; bytes that are no text are replaced."""
    return os.fsencode(attribute.removeprefix("SCHILY.xattr.")).decode(errors="replace")


def restore(on: Transport, path: str, state: FileState) -> None:
    """Restore ``path`` to ``state``; a directory in the place of a file is an error.

    If the state is the same already, only the temporary file of an interrupted run is removed.
    """
    beside = str(PurePosixPath(path).with_name(_beside(path)))
    if capture(on, path) == state:
        on.run(["sh", "-c", _REMOVE, "tidy", beside]).require()
    elif state.kind == "absent":
        _require_done(on, path, on.run(["sh", "-c", _REMOVE, "remove", path, beside]))
    elif state.kind == "directory":
        raise FactError(f"on {on.machine}: {path} was a directory: restore it by hand")
    else:
        _put(on, path, state)


def _beside(path: str) -> str:
    return f".{PurePosixPath(path).name}.gate-new"


def _put(on: Transport, path: str, state: FileState) -> None:
    name = _beside(path)
    now = "" if state.mtime else "--touch"  # the time of the machine's own clock
    argv = ["sh", "-c", _RESTORE, "restore", path, name, now, state.mtime]
    _require_done(on, path, on.run(argv, stdin=_archive(name, state)))


def _require_done(on: Transport, path: str, result: CommandResult) -> None:
    """Raise if a file was not written, renamed or removed: FactError if a flag forbids it.

    Not even root may change a file with the flag ``i`` or ``a``. Source: chattr(1).
    """
    if result.ok:
        return
    places = (path, str(PurePosixPath(path).parent))
    for line in on.look(["lsattr", "-d", "--", *places]).text.splitlines():
        flags, _, place = line.partition(" ")
        if kept := sorted({"i", "a"} & set(flags)):
            what = {"i": "immutable", "a": "append-only"}[kept[-1]]
            raise FactError(
                f"on {on.machine}: {path} cannot be changed, even by root: {place} is {what} "
                f"(lsattr -d {place}: {flags}). If that is not on purpose, take the flag away: "
                f"chattr -{kept[-1]} {place} (for a file of a container, on its node)"
            )
    result.require()


def require_file(on: Transport, path: str, state: FileState) -> None:
    """Raise FactError unless the path is a regular file, or absent."""
    if state.kind not in {"absent", "file"}:
        raise FactError(
            f"on {on.machine}: {path} is a {state.kind}; only a regular file is edited in place. "
            "Move it away, or name the file itself"
        )


def write(on: Transport, path: str, state: FileState, content: bytes) -> None:
    """Write new content to a file; mode, owner and attributes stay, the time becomes now."""
    require_file(on, path, state)
    _put(on, path, replace(state, kind="file", content=content, mtime=""))


def _archive(name: str, state: FileState) -> bytes:
    """Return a tar archive with one member, as ``capture`` would read it back.

    Names are bytes of any kind, those of attributes, too, so the extended header is written here.
    """
    values = {"path": name, "uid": str(state.uid), "gid": str(state.gid), **state.attributes}
    values |= {"linkpath": state.link} if state.kind == "link" else {}
    values |= {"mtime": state.mtime} if state.mtime else {}
    extended = b"".join(_record(key, value) for key, value in values.items())
    header, member = tarfile.TarInfo("extended"), tarfile.TarInfo("member")
    header.type, header.size = tarfile.XHDTYPE, len(extended)
    member.type = tarfile.SYMTYPE if state.kind == "link" else tarfile.REGTYPE
    member.mode, member.size = state.mode, len(state.content)
    return b"".join(
        info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
        for info, content in ((header, extended), (member, state.content))
    ) + bytes(2 * tarfile.BLOCKSIZE)


def _record(key: str, value: str) -> bytes:
    """Return a record of an extended header, which begins with its own length. See pax(1)."""
    rest = f" {key}={value}\n".encode(errors="surrogateescape")
    digits = len(str(len(rest)))
    digits = len(str(len(rest) + digits))
    return str(len(rest) + digits).encode() + rest
