"""A log that grows, is rotated, replaced or cut: each of its denials is told, and told once."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facts.denial import log_follow
from facts.denial.log_follow import File, Lines, Piped
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Follow = Callable[..., File]


def line(number: int) -> bytes:
    return b'type=AVC msg=audit(1.5:%d): apparmor="DENIED" operation="open" name="/x"\n' % number


NOISE = b"type=USER_ACCT msg=audit(1.5:8): pid=1 uid=0\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    path.write_bytes(line(0) + NOISE)
    return path


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Return what follows a file until the end of the test."""
    with ExitStack() as stack:
        yield lambda path, *, whole=False: stack.enter_context(closing(File(path, whole=whole)))


def grow(path: Path, *more: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(more))


def numbers(found: list[bytes]) -> list[int]:
    return [int(each.split(b":")[1].split(b")")[0]) for each in found]


def news(followed: File | Piped) -> list[int]:
    return numbers(list(followed.news()))


def test_news_of_a_file_are_what_came_since_then_each_once(log: Path, follow: Follow) -> None:
    followed = follow(log)
    assert news(followed) == []
    grow(log, NOISE, line(1), line(2))
    assert news(followed) == [1, 2]
    assert news(followed) == []
    assert (followed.doubt, followed.ended) == ("", False)


def test_news_of_a_whole_file_are_first_what_it_holds_and_what_was_rotated(
    log: Path, follow: Follow
) -> None:
    (log.parent / "audit.log.2.gz").write_bytes(gzip.compress(line(7)))
    (log.parent / "audit.log.1").write_bytes(line(8))
    assert news(follow(log, whole=True)) == [0]
    followed = follow(log.parent, whole=True)
    assert news(followed) == [7, 8, 0]
    grow(log, line(1))
    assert news(followed) == [1]
    assert news(follow(log.parent, whole=False)) == []


def test_news_of_a_line_that_is_not_whole_wait_for_its_end(log: Path, follow: Follow) -> None:
    followed = follow(log)
    grow(log, line(1)[:30])
    assert news(followed) == []
    grow(log, line(1)[30:], line(2)[:-1])
    assert news(followed) == [1]
    assert numbers(list(followed.rest())) == [2]
    assert list(followed.rest()) == []


def test_news_of_a_file_that_begins_in_the_middle_of_a_line_are_of_the_whole_line(
    log: Path,
    follow: Follow,
) -> None:
    grow(log, line(1)[:30])
    followed = follow(log)
    grow(log, line(1)[30:])
    assert news(followed) == [1]


def test_news_through_a_rotation_are_of_both_files(log: Path, follow: Follow) -> None:
    followed = follow(log)
    grow(log, line(1))
    log.rename(log.with_name("audit.log.1"))
    assert news(followed) == [1]
    grow(log.with_name("audit.log.1"), line(2))
    grow(log, line(3))
    assert news(followed) == [2, 3]
    grow(log.with_name("audit.log.1"), line(4))  # whoever writes has not noticed yet
    grow(log, line(5))
    assert news(followed) == [4, 5]
    assert followed.doubt == ""


def test_news_through_several_rotations_at_once_are_of_all_files(log: Path, follow: Follow) -> None:
    followed = follow(log)
    for number in (1, 2, 3):
        grow(log, line(number))
        for old in (2, 1):
            if (path := log.with_name(f"audit.log.{old}")).exists():
                path.rename(log.with_name(f"audit.log.{old + 1}"))
        log.rename(log.with_name("audit.log.1"))
    grow(log, line(4))
    assert news(followed) == [1, 2, 3, 4]


def test_news_of_a_file_that_was_replaced_are_those_of_the_new_one(
    log: Path, follow: Follow
) -> None:
    followed = follow(log)
    log.unlink()
    assert news(followed) == []
    log.write_bytes(line(1))
    assert news(followed) == [1]


def test_news_of_a_file_that_was_cut_are_from_its_beginning_and_leave_a_doubt(
    log: Path, follow: Follow
) -> None:
    followed = follow(log)
    shutil.copy(log, log.with_name("audit.log.1"))
    os.truncate(log, 0)
    assert news(followed) == []
    assert "was cut while it was followed" in followed.doubt
    grow(log, line(1))
    assert news(followed) == [1]


def test_news_of_a_file_that_was_cut_and_grew_again_are_all_that_it_holds(
    log: Path, follow: Follow
) -> None:
    followed = follow(log)
    grow(log, line(1))
    assert news(followed) == [1]
    os.truncate(log, 0)
    grow(log, NOISE * 20, line(2))
    assert news(followed) == [2]
    assert "was cut while it was followed" in followed.doubt


def test_news_of_a_directory_are_of_its_audit_log_and_of_no_rotated_file(
    log: Path, follow: Follow
) -> None:
    (log.parent / "audit.log.gz").write_bytes(gzip.compress(line(7)))
    followed = follow(log.parent)
    grow(log, line(1))
    assert news(followed) == [1]
    assert news(follow(log.parent, whole=True)) == [7, 0, 1]
    log.rename(log.with_name("audit.log.1"))
    with pytest.raises(FactError, match=r"audit\.log cannot be read: No such file"):
        follow(log.parent)


@pytest.mark.parametrize("name", ["audit.log-20261126", "audit.log.1.gz"])
def test_news_through_rotations_to_names_without_an_order_leave_a_doubt(
    log: Path, follow: Follow, name: str
) -> None:
    followed = follow(log)
    log.rename(log.with_name("audit.log-20261125"))
    os.utime(log.with_name("audit.log-20261125"), (1, 1))
    grow(log, line(1))
    assert (news(followed), followed.doubt) == ([1], "")  # nothing can be in between
    log.rename(log.with_name(name))
    os.utime(log.with_name(name), (1, 1))
    grow(log, line(2))
    log.rename(log.with_name("audit.log-20261127"))
    grow(log, line(3))
    assert news(followed) == [3]
    assert "does not tell the order" in followed.doubt


def test_news_while_a_file_is_renamed_wait_for_the_next_look(
    log: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = follow(log)
    grow(log, line(1))
    log.rename(log.with_name("audit.log.1"))
    grow(log, line(2))
    opened = log_follow._Open

    def rotated(path: Path) -> log_follow._Open:
        """Open a file after it was renamed, as auditd does it at this very moment."""
        monkeypatch.setattr(log_follow, "_Open", opened)
        log.with_name("audit.log.1").rename(log.with_name("audit.log.2"))
        log.rename(log.with_name("audit.log.1"))
        return opened(path)

    monkeypatch.setattr(log_follow, "_Open", rotated)
    assert news(followed) == [1]
    grow(log, line(3))
    assert news(followed) == [2, 3]
    assert followed.doubt == ""


def test_news_while_older_files_are_renamed_are_in_order_and_lose_nothing(
    log: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate() -> None:
        for old in (3, 2, 1):
            if (path := log.with_name(f"audit.log.{old}")).exists():
                path.rename(log.with_name(f"audit.log.{old + 1}"))
        log.rename(log.with_name("audit.log.1"))

    followed = follow(log)
    for number in (1, 2):
        grow(log, line(number))
        rotate()
    grow(log, line(3))
    opened = log_follow._Open

    def moved(path: Path) -> log_follow._Open:
        monkeypatch.setattr(log_follow, "_Open", opened)
        rotate()
        grow(log, line(4))
        return opened(path)

    monkeypatch.setattr(log_follow, "_Open", moved)
    assert news(followed) == [1]
    assert news(followed) == [2, 3, 4]
    assert news(followed) == []


def test_lines_that_nobody_took_before_ctrl_c_are_told_next(log: Path, follow: Follow) -> None:
    followed = follow(log)
    grow(log, *map(line, range(1, 9)))
    for each in followed.news():
        assert numbers([each]) == [1]
        break  # as an exception between two lines does
    assert numbers(list(followed.rest())) == [2, 3, 4, 5, 6, 7, 8]


@settings(max_examples=60, deadline=None, database=None)
@given(
    parts=st.lists(st.integers(1, 200), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
    pieces=st.integers(1, 300),
)
def test_news_of_a_file_that_grows_and_rotates_lose_and_double_nothing(
    parts: list[int], seed: int, pieces: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "audit.log"
    path.touch()
    chance, text, at = random.Random(seed), b"".join(map(line, range(30))), 0  # noqa: S311
    found: list[int] = []
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(log_follow, "_PIECE", pieces)
        followed = stack.enter_context(closing(File(path, whole=False)))
        for part in parts:
            grow(path, text[at : at + part])
            at += part
            if chance.random() < 0.3 and text[:at].endswith(b"\n"):
                path.rename(path.with_name(f"audit.log.{1000 - at}"))
                path.touch()
            if chance.random() < 0.7:
                found += news(followed)
        found += [*news(followed), *news(followed)]
    assert found == list(range(text[:at].count(b"\n")))


def test_file_that_cannot_be_followed_is_an_error_of_ours(log: Path, follow: Follow) -> None:
    with pytest.raises(FactError, match="cannot be read: No such file"):
        follow(log.with_name("nothing"))
    fifo = log.with_name("fifo")
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    try:
        with pytest.raises(FactError, match="pipe it into"):
            follow(fifo)
    finally:
        os.close(writer)
    (log.with_name("x.gz")).write_bytes(gzip.compress(line(1)))
    with pytest.raises(FactError, match="compressed cannot be followed"):
        list(follow(log.with_name("x.gz"), whole=True).news())


def test_news_of_a_pipe_are_what_came_and_its_end_is_told() -> None:
    reader, writer = os.pipe()
    piped = Piped(reader)
    try:
        assert news(piped) == []
        os.write(writer, line(1) + line(2)[:9])
        piped.wait()
        assert news(piped) == [1]
        os.write(writer, line(2)[9:] + line(3)[:-1])
        assert (news(piped), piped.ended) == ([2], False)
        os.close(writer)
        assert (news(piped), piped.ended) == ([], True)
        assert numbers(list(piped.rest())) == [3]
    finally:
        os.close(reader)


def test_news_of_a_pipe_that_is_filled_without_end_have_an_end() -> None:
    endless = os.open("/dev/zero", os.O_RDONLY)
    try:
        piped = Piped(endless)
        assert [*piped.news(), *piped.rest()] == []
        assert not piped.ended
    finally:
        os.close(endless)


def test_told_of_an_endless_line_is_kept_short_and_loses_no_mark() -> None:
    lines, found = Lines(), list[bytes]()
    for number in range(2000):
        found += lines.told(line(number)[:-1] + b" " * 50)
        assert len(lines._rest) < 1 << 17
    found += lines.end()
    assert sum(each.count(b'apparmor="DENIED"') for each in found) == 2000
