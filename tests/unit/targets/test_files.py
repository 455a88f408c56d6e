"""What is at a path comes back exactly; on real files, with real tar."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.actions.file_edit import Directory, FileEdit
from targets import files
from targets.errors import CommandFailed, FactError
from targets.transport import CommandResult, Local

if TYPE_CHECKING:
    from collections.abc import Sequence

ON = Local()
modes = st.sampled_from([0o600, 0o644, 0o755, 0o400, 0o4755])
contents = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"", b"no newline", b"crlf\r\n", b"\xff\xfe\x00", b"x" * 300_000, "ü\n".encode()]
    ),
)
times = st.integers(min_value=0, max_value=2_000_000_000_000_000_000)


def edit(path: Path, content: bytes = b"new\n") -> FileEdit:
    return FileEdit("edit", "edit", "STEP-1.2", str(path), lambda _: content)


@settings(max_examples=25, deadline=None)
@given(content=contents, mode=modes, nanoseconds=times)
def test_an_edit_is_rolled_back_exactly(content: bytes, mode: int, nanoseconds: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(content)
        path.chmod(mode)
        os.utime(path, ns=(nanoseconds, nanoseconds))
        action = edit(path)
        before = action.capture(ON)
        action.apply(ON)
        assert action.check(ON) is None
        assert path.stat().st_mode & 0o7777 == mode
        action.rollback(ON, before)
        assert action.capture(ON) == before
        assert path.read_bytes() == content
        assert path.stat().st_mtime_ns == nanoseconds
        assert [each.name for each in Path(folder).iterdir()] == ["file"]


def test_what_was_absent_is_absent_again(tmp_path: Path) -> None:
    action = edit(tmp_path / "file")
    before = action.capture(ON)
    assert before.kind == "absent"
    action.apply(ON)
    assert action.check(ON) is None
    action.rollback(ON, before)
    action.rollback(ON, before)
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_gets_the_time_of_now(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = tmp_path.stat().st_mtime
    edit(path).apply(ON)
    assert path.stat().st_mtime >= before - 2


def test_a_symbolic_link_is_not_edited_but_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("elsewhere")
    state = files.capture(ON, str(path))
    assert (state.kind, state.link) == ("link", "elsewhere")
    with pytest.raises(FactError, match="is a link"):
        edit(path).apply(ON)
    path.unlink()
    files.restore(ON, str(path), state)
    assert path.readlink() == Path("elsewhere")


def test_a_directory_in_the_way_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FactError, match="is a directory"):
        edit(tmp_path).apply(ON)


def test_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "-a 'b' $c\n"
    action = edit(path)
    before = action.capture(ON)
    action.apply(ON)
    assert path.read_bytes() == b"new\n"
    action.rollback(ON, before)
    assert not path.exists()


def test_a_directory_is_rolled_back_only_if_it_is_empty(tmp_path: Path) -> None:
    action = Directory("d", "d", "STEP-3.1", str(tmp_path / "d"))
    before = action.capture(ON)
    assert before is False
    action.apply(ON)
    assert action.check(ON) is None
    action.rollback(ON, before)
    assert action.capture(ON) == before
    action.rollback(ON, before)


class Fixed(Local):
    """This machine, with a flag on a file or its directory: what would change it fails."""

    def __init__(self, listed: str) -> None:
        super().__init__()
        self.listed = listed

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        words = tuple(argv)
        if words[0] == "lsattr":
            return CommandResult(words, 0, self.listed.encode(), b"", "here", 0.0, 0.0)
        if words[:2] == ("sh", "-c") and words[3] in {"restore", "remove"}:
            return CommandResult(words, 1, b"", b"mv: Operation not permitted", "here", 0.0, 0.0)
        return super().run(argv, stdin=stdin, timeout=timeout)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("----i---------e------- {path}\n--------------e------- {folder}\n", "immutable"),
        ("--------------e------- {path}\n-----a--------e------- {folder}\n", "append-only"),
    ],
)
def test_file_with_a_flag_that_forbids_changes_is_named_with_the_way_out(
    tmp_path: Path, listed: str, said: str
) -> None:
    path = tmp_path / "file"
    path.write_text("theirs")
    on = Fixed(listed.format(path=path, folder=tmp_path))
    state = files.capture(on, str(path))
    for change in (
        lambda: edit(path).apply(on),
        lambda: files.restore(on, str(path), files.FileState()),
    ):
        with pytest.raises(FactError, match=rf"{path} cannot be changed.* {said} .*chattr -[ia]"):
            change()
    assert files.capture(on, str(path)) == state


def test_file_without_such_a_flag_fails_with_what_the_command_said(tmp_path: Path) -> None:
    for listed in ("--------------e------- {path}\n", ""):
        with pytest.raises(CommandFailed, match="Operation not permitted"):
            edit(tmp_path / "file").apply(Fixed(listed))
