"""The plan's repository, on real ones: what is red, what cannot be told."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from facts.repository import _STATUS, Checkout, checkout, upstream_commit
from remediation.desired import INSTALL_SCRIPT
from steps import prerequisites as steps
from targets.errors import CommandFailed, FactError
from targets.transport import Local
from tests.doubles.scripted import Scripted

if TYPE_CHECKING:
    from pathlib import Path


def git(where: Path, *words: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", where, *who, *words], check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    upstream, here = tmp_path / "upstream", tmp_path / "phoenix"
    (upstream / INSTALL_SCRIPT).parent.mkdir(parents=True)
    (upstream / INSTALL_SCRIPT).write_text("#!/bin/bash\n")
    (upstream / "other file").write_text("x\n")
    git(upstream, "init", "-q")
    git(upstream, "add", "-A")
    git(upstream, "commit", "-q", "-m", "one")
    git(tmp_path, "clone", "-q", str(upstream), str(here))
    return here


def judged(repository: Path) -> Checkout | None:
    found = checkout(Local(), str(repository))
    steps.is_clean(found)
    steps.is_current(Local(), found)
    return found


def test_a_current_checkout_with_the_plans_changes(repository: Path) -> None:
    (repository / INSTALL_SCRIPT).write_text("#!/bin/bash\nset -e\n")
    index = (repository / ".git/index").stat()
    found = judged(repository)
    assert found == Checkout(
        str(repository),
        git(repository, "rev-parse", "HEAD"),
        "main",
        "origin/main",
        (INSTALL_SCRIPT,),
    )
    now = (repository / ".git/index").stat()
    assert (now.st_mtime_ns, now.st_ino) == (index.st_mtime_ns, index.st_ino)


@pytest.mark.parametrize("name", ["other file", "not known"])
def test_a_foreign_change(repository: Path, name: str) -> None:
    (repository / name).write_text("theirs\n")
    with pytest.raises(AssertionError, match=f"has 1 change.*not the plan's: {name}; commit or"):
        judged(repository)


def test_a_renamed_file_is_two_changes(repository: Path) -> None:
    git(repository, "mv", "other file", "another")
    found = checkout(Local(), str(repository))
    assert found
    assert found.changed == ("another", "other file")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_foreign_change_that_git_was_told_to_overlook_is_one(repository: Path, flag: str) -> None:
    git(repository, "update-index", flag, "other file")
    judged(repository)
    (repository / "other file").write_text("theirs\n")
    with pytest.raises(AssertionError, match="not the plan's: other file; commit or"):
        judged(repository)
    (repository / "other file").unlink()  # as a sparse checkout leaves it out
    judged(repository)


def test_a_foreign_change_where_git_was_told_to_look_elsewhere_is_one(
    repository: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", str(repository), "elsewhere")
    git(repository, "config", "core.worktree", str(tmp_path / "elsewhere"))
    (repository / "other file").write_text("theirs\n")
    with pytest.raises(AssertionError, match="not the plan's: other file; commit or"):
        judged(repository)


def _owned_by_somebody(repository: Path, upstream: Path) -> Path:
    """Give the checkout to nobody (65534), with a filter and a transport that say who runs them."""
    ran = repository / "ran"
    note = f"id -u >>{ran}"
    git(repository, "config", "filter.x.clean", f"sh -c '{note}; cat'")
    git(repository, "config", "remote.origin.uploadpack", f"{note}; git-upload-pack")
    (repository / ".git/info/attributes").write_text("* filter=x\n")
    (repository / "other file").write_text("changed\n")
    for path in (repository, upstream):
        subprocess.run(["chown", "-R", "65534:65534", str(path)], check=True)
    for parent in repository.parents:  # pytest's own folders are its user's
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return ran


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as somebody else")
def test_checkout_of_another_owner_runs_nothing_as_root(repository: Path, tmp_path: Path) -> None:
    ran = _owned_by_somebody(repository, tmp_path / "upstream")
    found = checkout(Local(), str(repository))
    assert found is not None
    assert "other file" in found.changed
    assert upstream_commit(Local(), found) == found.commit
    assert set(ran.read_text().split()) == {"65534"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to start nothing")
def test_checkout_of_roots_that_others_may_write_is_refused(repository: Path) -> None:
    (repository / ".git/config").chmod(0o666)
    with pytest.raises(FactError, match="others may write to it, so running git there as root"):
        checkout(Local(), str(repository))


def git_says(answer: str, code: int = 0) -> Checkout | None:
    argv = ("sh", "-c", _STATUS, "status", "/r")
    return checkout(Scripted({argv: (code, answer.encode(), b"no")}), "/r")


def test_every_kind_of_change() -> None:
    kinds = [
        "# branch.oid 1234",
        "# branch.head main",
        "1 .M N... 100644 100644 100644 abc abc a modified file",
        "2 R. N... 100644 100644 100644 abc abc R100 a new name",
        "an old name",
        "u UU N... 100644 100644 100644 100644 abc abc abc an unmerged file",
        "? an unknown file",
        "! an ignored file",
    ]
    assert git_says("\0".join(kinds) + "\0") == Checkout(
        "/r",
        "1234",
        "main",
        "",
        ("a modified file", "a new name", "an old name", "an unknown file", "an unmerged file"),
    )


def test_what_is_no_answer() -> None:
    assert git_says("nothing\0") is None
    assert git_says("no checkout\0") == Checkout("/r", "", "", "", ())
    assert Checkout("/r") == Checkout("/r", "", "", "", ())
    with pytest.raises(FactError, match="printed nothing about /r"):
        git_says("")
    with pytest.raises(CommandFailed):
        git_says("# branch.oid 1234\0", 128)


def test_behind_its_upstream(repository: Path, tmp_path: Path) -> None:
    git(tmp_path / "upstream", "commit", "-q", "--allow-empty", "-m", "two")
    refs = sorted((repository / ".git").rglob("*"))
    with pytest.raises(AssertionError, match=r"its upstream origin/main at .*pull --ff-only"):
        judged(repository)
    assert sorted((repository / ".git").rglob("*")) == refs, "something was fetched"


def test_an_upstream_that_cannot_be_reached(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "upstream").rename(tmp_path / "gone")
    with pytest.raises(FactError, match=r"upstream of .* does not answer: fatal: .*upstream"):
        judged(repository)


def test_an_upstream_that_never_answers(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexec sleep 30\n")
    ssh.chmod(0o755)
    git(repository, "config", "core.sshCommand", str(ssh))
    git(repository, "remote", "set-url", "origin", "ssh://nobody@localhost/x")
    monkeypatch.setattr("facts.repository._UPSTREAM_PATIENCE", 1)
    with pytest.raises(FactError, match="did not answer within 1 s"):
        judged(repository)


def test_an_upstream_without_the_branch(repository: Path, tmp_path: Path) -> None:
    git(tmp_path / "upstream", "branch", "-m", "trunk")
    with pytest.raises(FactError, match="has no origin/main"):
        judged(repository)


def test_no_upstream_and_no_repository_are_no_errors(repository: Path, tmp_path: Path) -> None:
    git(repository, "branch", "--unset-upstream")
    found = judged(repository)
    assert found
    assert found.upstream == ""
    assert judged(tmp_path / "nothing") is None


def test_a_directory_within_another_checkout_is_none(repository: Path) -> None:
    with pytest.raises(AssertionError, match="is a directory, but no git checkout: clone it"):
        judged(repository / "bin")


def test_git_is_not_there(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(FactError, match="git is not installed"):
        judged(repository)
