"""What is at a path comes back exactly; on real files, with real tar."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Local
from remediation.actions.file_edit import FileEdit
from tests.doubles.answering import Answer, Answering
from tests.doubles.naming import naming

ON = Local()


def edit(path: Path, content: bytes = b"new\n") -> FileEdit:
    return FileEdit("edit", "edit", "STEP-1.2", str(path), lambda _: content)


def test_edit_of_a_link_is_refused_and_restore_makes_it_again(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("elsewhere")
    state = files.capture(ON, str(path))
    assert (state.kind, state.link) == ("link", "elsewhere")
    for other, kind in ((path, "link"), (tmp_path, "directory")):
        with naming(FactError, other, kind):
            edit(other).apply(ON, FileState())
    path.unlink()
    files.restore(ON, str(path), state)
    assert path.readlink() == Path("elsewhere")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_names_that_are_no_utf8_come_back_by_their_bytes(tmp_path: Path, kind: str) -> None:
    path, odd = f"{tmp_path}/" + os.fsdecode(b"f\xff\xe9"), os.fsdecode(b"user.\xff=%\xfe")
    state = FileState(
        kind,
        b"x" * (kind == "file"),
        os.fsdecode(b"to \xff") if kind == "link" else "",
        0o777 if kind == "link" else 0o640,
        3_000_000 if os.geteuid() == 0 else os.geteuid(),
        os.getegid(),
        "1700000000.123456789",
    )
    if kind == "file":
        Path(path).write_bytes(b"")
        os.setxattr(path, odd, b"a\0\xff\n")
        state = replace(state, attributes=files.capture(ON, path).attributes)
        assert len(state.attributes) == 1
        Path(path).unlink()
    files.restore(ON, path, state)
    assert files.capture(ON, path) == state
    if kind == "file":
        assert os.getxattr(path, odd) == b"a\0\xff\n"
    assert [os.fsencode(each.name) for each in tmp_path.iterdir()] == [b"f\xff\xe9"]


def fixed(listed: str) -> Answering:
    """This machine, with a flag on a file or its directory: what would change it fails."""

    def answer(words: list[str]) -> Answer | None:
        if words[0] == "lsattr":
            return listed.encode()
        if words[:2] == ["sh", "-c"] and words[3] in {"restore", "remove"}:
            return 1, b"", b"mv: Operation not permitted"
        return None

    return Answering(answer, "here", Local())


@pytest.mark.parametrize(
    ("listed", "flag"),
    [
        ("----i---------e------- {path}\n--------------e------- {folder}\n", "immutable"),
        ("--------------e------- {path}\n-----a--------e------- {folder}\n", "append-only"),
    ],
)
def test_change_of_a_flagged_file_names_the_way_out(tmp_path: Path, listed: str, flag: str) -> None:
    path = tmp_path / "file"
    path.write_text("theirs")
    on = fixed(listed.format(path=path, folder=tmp_path))
    state = files.capture(on, str(path))
    for change in (
        lambda: edit(path).apply(on, state),
        lambda: files.restore(on, str(path), FileState()),
    ):
        with naming(FactError, path, flag, f"chattr -{flag[0]}"):
            change()
    assert files.capture(on, str(path)) == state


def test_change_that_fails_without_a_flag_carries_the_commands_words(tmp_path: Path) -> None:
    for listed in ("--------------e------- {path}\n", ""):
        with pytest.raises(CommandFailed) as raised:
            edit(tmp_path / "file").apply(fixed(listed), FileState())
        assert raised.value.result.stderr == b"mv: Operation not permitted"
