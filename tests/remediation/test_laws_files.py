"""The two laws for files and directories: on real ones, whatever was there before."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from flag import ON, plan
from hypothesis import example, given, settings
from hypothesis import strategies as st
from states import ROOT, Laid, acl, anything, edit, files, laws, look

from remediation.actions import Directory, FileEdit
from remediation.errors import FactError, RemediationError

if TYPE_CHECKING:
    from collections.abc import Iterator


def edited(path: Path) -> FileEdit:
    return FileEdit("edit", "STEP-1.2", str(path), edit)


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Let nobody change a path: immutable for root, in a folder without permission for others."""
    if not ROOT:
        mode = path.parent.stat().st_mode
        path.parent.chmod(0o500)
        try:
            yield
        finally:
            path.parent.chmod(mode)
        return
    subprocess.run(["chattr", "+i", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


@settings(max_examples=60, deadline=None)
@given(laid=anything, inherited=st.booleans())
@example(laid=Laid(attributes={"one": b"\xff\x00=\n"}), inherited=False)
@example(laid=Laid(content=b"no end", mode=0o4711, nanoseconds=-1), inherited=True)
def test_a_file_holds_the_laws_whatever_was_there(laid: Laid, inherited: bool) -> None:
    with TemporaryDirectory() as name:
        path = Path(name, "file")
        if inherited:
            _inherits(path.parent)
        laid.at(path)
        before = look(path.parent)
        if laid.kind == "socket":
            with pytest.raises(FactError, match="neither a file, a link nor a directory"):
                edited(path).capture(ON)
        else:
            outcome = laws(edited(path), ON)
            assert outcome == "refused" or laid.kind in {"file", "absent", "link"}
        assert look(path.parent) == before


def _inherits(folder: Path) -> None:
    os.setxattr(folder, "system.posix_acl_default", acl(54321))


@settings(max_examples=40, deadline=None)
@given(laid=anything)
@example(laid=Laid(attributes={"one": b"\xff\x00=\n"}))
@example(laid=Laid("link", link=b"\xff\xfe"))
def test_a_whole_plan_takes_it_back_through_its_journal(laid: Laid) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name, "here")
        folder.mkdir()
        laid.at(folder / "file")
        before = look(folder)
        try:
            plan(Path(name), edited(folder / "file")).apply()
        except RemediationError as error:
            assert laid.kind in {"link", "directory", "socket"} or not ROOT, error  # noqa: PT017
            assert plan(Path(name), edited(folder / "file")).journal.entries() == []
        else:
            plan(Path(name), edited(folder / "file")).rollback()
        assert look(folder) == before


@settings(max_examples=10, deadline=None)
@given(laid=files)
def test_what_cannot_be_written_is_refused_and_not_called_changed(laid: Laid) -> None:
    with TemporaryDirectory() as name:
        path = Path(name, "here/file")
        path.parent.mkdir()
        laid.at(path)
        before = look(path.parent)
        with unwritable(path):
            assert laws(edited(path), ON) in {"refused", "was so"}
            it = plan(Path(name), edited(path))
            try:
                outcomes = it.apply()
            except RemediationError as error:
                assert type(error).__name__ == "CommandFailed"  # noqa: PT017
            else:
                assert not any(outcome.changed for outcome in outcomes)
        assert it.journal.entries() == []
        assert look(path.parent) == before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert laws(edited(tmp_path / "none/file"), ON) == "refused"
    assert laws(Directory("d", "STEP-3.1", str(tmp_path / "none/d")), ON) == "refused"
    assert look(tmp_path) == {}


@settings(max_examples=25, deadline=None)
@given(laid=anything)
def test_a_directory_holds_the_laws_whatever_was_there(laid: Laid) -> None:
    with TemporaryDirectory() as name:
        path = Path(name, "d")
        laid.at(path)
        before = look(Path(name))
        outcome = laws(Directory("d", "STEP-3.1", str(path)), ON)
        wanted = {"absent": "held", "directory": "was so"}.get(laid.kind)
        points_to_one = laid.link == b".."
        assert outcome == (wanted or ("was so" if points_to_one else "refused"))
        assert look(Path(name)) == before


def test_a_directory_with_somebody_elses_file_stays(tmp_path: Path) -> None:
    action = Directory("d", "STEP-3.1", str(tmp_path / "d"))
    action.apply(ON)
    (tmp_path / "d/theirs").write_text("theirs")
    with pytest.raises(RemediationError, match="somebody else put something there"):
        action.rollback(ON, before=False)
    assert (tmp_path / "d/theirs").read_text() == "theirs"
