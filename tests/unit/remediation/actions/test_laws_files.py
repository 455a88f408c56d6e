"""The two laws for files and directories: on real ones, whatever was there before."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Inside, Transport
from remediation.actions.file_edit import Directory, FileEdit
from remediation.engine.action import Step
from remediation.engine.apply import apply
from remediation.engine.plan import Plan
from tests.doubles.examples import examples
from tests.doubles.flag import ON, journal
from tests.doubles.naming import naming
from tests.doubles.states import LINE, ROOT, Laid, acl, anything, edit, files, laws, look


def edited(path: Path) -> FileEdit:
    return FileEdit("edit", "edit", "STEP-1.2", str(path), edit)


@contextmanager
def immutable(path: Path) -> Iterator[Transport]:
    """Let nobody change a file, root neither; where that is not permitted, as :func:`foreign`."""
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        with foreign(path) as on:
            yield on
        return
    try:
        yield ON
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


@contextmanager
def foreign(path: Path) -> Iterator[Transport]:
    """Be somebody who may look at a file, and may not write beside it."""
    if ROOT:
        path.parent.parent.chmod(0o755)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        yield Inside(ON, "localhost", nobody)
        return
    path.parent.chmod(0o500)
    try:
        yield ON
    finally:
        path.parent.chmod(0o755)


@examples(60)
@given(laid=anything, inherited=st.booleans())
@example(laid=Laid(attributes={"one": b"\xff\x00=\n"}), inherited=False)
@example(laid=Laid(content=b"no end", mode=0o4711, nanoseconds=-1), inherited=True)
def test_file_holds_the_laws_whatever_was_there(laid: Laid, inherited: bool) -> None:
    with TemporaryDirectory() as name:
        path = Path(name, "file")
        if inherited:
            os.setxattr(path.parent, "system.posix_acl_default", acl(54321))
        laid.at(path)
        before = look(path.parent)
        if laid.kind == "socket":
            with naming(FactError, path):
                edited(path).capture(ON)
        else:
            outcome = laws(edited(path), ON)
            assert outcome == "refused" or laid.kind in {"file", "absent", "link"}
        assert look(path.parent) == before


@pytest.mark.parametrize("unwritable", [immutable, foreign])
@examples(10)
@given(laid=files)
def test_apply_to_an_unwritable_file_is_refused(
    unwritable: Callable[[Path], AbstractContextManager[Transport]], laid: Laid
) -> None:
    laid = replace(laid, mode=laid.mode | 0o444, acl=False)  # to be read by others, too
    with TemporaryDirectory() as name:
        path = Path(name, "here/file")
        path.parent.mkdir()
        laid.at(path)
        before = look(path.parent)
        wanted = "was so" if LINE in laid.content else "refused"
        with unwritable(path) as on:
            assert laws(edited(path), on) == wanted
            it = Plan([Step(edited(path), on)], journal(Path(name)))
            if wanted == "refused":
                with naming((CommandFailed, FactError), path):
                    apply(it)
            else:
                assert not apply(it)[0].changed
        assert it.journal.entries() == []
        assert look(path.parent) == before


def test_apply_in_an_absent_directory_is_refused(tmp_path: Path) -> None:
    assert laws(edited(tmp_path / "none/file"), ON) == "refused"
    assert laws(Directory("d", "d", "STEP-3.1", str(tmp_path / "none/d")), ON) == "refused"
    assert look(tmp_path) == {}


@examples(25)
@given(laid=anything)
def test_directory_holds_the_laws_whatever_was_there(laid: Laid) -> None:
    with TemporaryDirectory() as name:
        path = Path(name, "d")
        laid.at(path)
        before = look(Path(name))
        outcome = laws(Directory("d", "d", "STEP-3.1", str(path)), ON)
        wanted = {"absent": "held", "directory": "was so"}.get(laid.kind)
        points_to_one = laid.link == b".."
        assert outcome == (wanted or ("was so" if points_to_one else "refused"))
        assert look(Path(name)) == before


def test_rollback_of_a_directory_with_a_foreign_file_is_refused(tmp_path: Path) -> None:
    action = Directory("d", "d", "STEP-3.1", str(tmp_path / "d"))
    action.apply(ON, action.capture(ON))
    (tmp_path / "d/theirs").write_text("theirs")
    with naming(RemediationError, tmp_path / "d"):
        action.rollback(ON, before=False)
    assert (tmp_path / "d/theirs").read_text() == "theirs"
