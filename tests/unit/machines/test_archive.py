"""A guest's tar sends whatever it likes: it is read as one file, or refused in our own words."""

import io
import tarfile
import time
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import archive
from docker_lxc_gate.formats.archive import FileState, UnreadableArchive
from docker_lxc_gate.machines import files
from tests.doubles.answering import Answering
from tests.doubles.naming import naming

#: As files.py has it.
LARGEST = files.LARGEST
PATH = "/etc/docker/daemon.json"


def only_member(said: bytes) -> tuple[str, FileState] | None:
    return archive.only_member(said, largest=LARGEST)


def tar(said: bytes) -> Answering:
    """A guest whose tar sends these bytes."""
    return Answering(lambda argv: said if "tar" in argv else None, "container 950")


def packed(*members: tuple[dict[str, Any], bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive of members, each with a TarInfo's attributes and its content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as out:
        for facts, content in members:
            info = tarfile.TarInfo(PATH)
            info.size = len(content)
            for key, value in facts.items():
                setattr(info, key, value)
            out.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def extended(**headers: str) -> bytes:
    return packed(({"pax_headers": headers}, b"{}"))


def test_only_member_honest_file_is_read_whole() -> None:
    headers = {"mtime": "1700000000.123456789", "SCHILY.xattr.user.a": "b\n=c"}
    found = only_member(
        packed(({"mode": 0o640, "uid": 7, "gid": 8, "pax_headers": headers}, b"{}"))
    )
    attributes = {"SCHILY.xattr.user.a": "b\n=c"}
    state = FileState("file", b"{}", "", 0o640, 7, 8, headers["mtime"], attributes)
    assert found == (PATH, state)
    assert files.capture(tar(extended()), PATH).content == b"{}"


@pytest.mark.parametrize("kind", [b"3", b"4", b"6"])
def test_only_member_device_pipe_or_socket_is_none(kind: bytes) -> None:
    assert only_member(packed(({"type": kind}, b""))) is None
    assert only_member(bytes(10240)) is None  # a socket, which tar ignores


GOOD = packed(({}, b"{}"))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (b"", "header"),
        (b"Killed\n" * 200, "header"),
        (GOOD[:513], "1 of 2"),
        (GOOD[:100] + b"7" + GOOD[101:], "sum"),
        (packed(({}, b"{}"), ({}, b"{}")), "member"),
        (packed(({"type": b"1", "linkname": "/etc/shadow"}, b"")), "b'1'"),
        (packed(({"type": b"g"}, b"")), "b'g'"),
        (packed(({"uid": 1 << 40}, b""), kind=tarfile.GNU_FORMAT), "uid"),
        (extended(mtime="1 --reference=/etc/shadow"), "time"),
        (extended(uid="-1"), "'-1'"),
        (extended(size="99999999999999999999"), "size"),
        (extended(size="1048576"), "1048576"),
        (extended(**{"GNU.sparse.realsize": "1000000000000"}), "GNU.sparse.realsize"),
        (extended(comment="x"), "'comment'"),
    ],
)
def test_capture_archive_that_is_not_of_one_plain_file_is_refused(said: bytes, named: str) -> None:
    with naming(UnreadableArchive, named):
        only_member(said)
    with naming(FactError, "container 950", PATH, named):
        files.capture(tar(said), PATH)


def test_capture_archive_of_another_file_names_both() -> None:
    with naming(FactError, "/etc/other", PATH):
        files.capture(tar(GOOD), "/etc/other")


def test_only_member_extended_header_of_short_records_takes_linear_time() -> None:
    text = b"3 a" * (250 << 10 >> 2) + b"="
    info = tarfile.TarInfo("x")
    info.type, info.size = b"x", len(text)
    said = info.tobuf(tarfile.USTAR_FORMAT) + text
    began = time.process_time()
    with naming(UnreadableArchive, "extended header"):
        only_member(said + bytes(1024))
    records = b"".join(b"22 SCHILY.xattr.%04d=\n" % number for number in range(8000))
    info.size = len(records)
    padding = bytes(-len(records) % 512)
    found = only_member(info.tobuf(tarfile.USTAR_FORMAT) + records + padding + GOOD)
    assert found is not None
    assert len(found[1].attributes) == 8000
    assert time.process_time() - began < 2
