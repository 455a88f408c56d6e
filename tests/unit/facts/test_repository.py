"""The plan's repository, on real ones: what is red, what cannot be told."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.repository import (
    Checkout,
    checkout,
    file_of,
    upstream_commit,
)
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Local
from remediation.phoenix import INSTALL_SCRIPT
from tests.doubles.naming import naming
from tests.doubles.scripted import Scripted


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


def read(repository: Path) -> Checkout:
    found = checkout(Local(), str(repository))
    assert found
    return found


def upstream_of(repository: Path) -> str | None:
    return upstream_commit(Local(), read(repository))


def test_checkout_is_read_without_a_change_of_its_index(repository: Path) -> None:
    (repository / INSTALL_SCRIPT).write_text("#!/bin/bash\nset -e\n")
    index = (repository / ".git/index").stat()
    found, head = read(repository), git(repository, "rev-parse", "HEAD")
    assert found == Checkout(str(repository), head, "main", "origin/main", (INSTALL_SCRIPT,))
    assert upstream_of(repository) == head
    now = (repository / ".git/index").stat()
    assert (now.st_mtime_ns, now.st_ino) == (index.st_mtime_ns, index.st_ino)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_checkout_with_a_change_that_git_skips_names_the_file(repository: Path, flag: str) -> None:
    git(repository, "update-index", flag, "other file")
    assert read(repository).changed == ()
    (repository / "other file").write_text("theirs\n")
    assert read(repository).changed == ("other file",)
    (repository / "other file").unlink()
    assert read(repository).changed == ("other file",)
    git(repository, "config", "core.sparseCheckout", "true")  # which leaves it out
    assert read(repository).changed == ()


@pytest.mark.parametrize(
    "name", ["link", "empty", "program", "line\nfeed", os.fsdecode(b'"other \xff')]
)
def test_checkout_with_another_kind_of_file_that_git_skips_names_it(
    repository: Path, name: str
) -> None:
    file = repository / name
    file.symlink_to("there") if name == "link" else file.touch(0o755)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "two")
    git(repository, "update-index", "--assume-unchanged", name)
    assert read(repository).changed == ()
    if name == "program":
        file.chmod(0o644)
    else:
        file.unlink()
        file.symlink_to("elsewhere") if name in {"link", "empty"} else file.write_text("x")
    assert read(repository).changed == (name,)
    git(repository, "config", "core.fileMode", "false")
    assert read(repository).changed == (() if name == "program" else (name,))


@pytest.mark.parametrize("how", ["eol", "ident", "encoding", "lfs"])
def test_checkout_with_a_file_that_git_converts_is_as_committed(repository: Path, how: str) -> None:
    (folder := repository / "sub").mkdir()
    file, content = folder / "x.bat", b"6\n$Id$\n"
    attributes = {
        "eol": "text eol=crlf",
        "ident": "ident",
        "encoding": "text working-tree-encoding=UTF-16LE",
        "lfs": "filter=lfs",
    }[how]
    (repository / ".gitattributes").write_text(f"/sub/*.bat {attributes}\n")
    there = content.decode().encode("utf-16-le") if how == "encoding" else content
    if how == "lfs":  # as its clean filter does
        pointer = f"version x\noid sha256:{hashlib.sha256(there).hexdigest()}\nsize 9"
        git(repository, "config", "filter.lfs.clean", f"cat >/dev/null; printf '{pointer}\\n'")
    file.write_bytes(there)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "two")
    if how != "lfs":
        file.unlink()
        git(repository, "checkout", "-q", "--", "sub")
        assert file.read_bytes() != content
    assert read(repository).changed == ()
    git(repository, "update-index", "--assume-unchanged", "sub/x.bat")
    file.write_bytes(file.read_bytes() + b"x\0")
    assert read(repository).changed == ("sub/x.bat",)


@pytest.mark.parametrize("how", ["a clean filter", "replace", "exclude", "a pipe"])
def test_checkout_with_a_change_that_git_status_does_not_see_names_the_file(
    repository: Path, how: str
) -> None:
    file = repository / "other file"
    assert read(repository).changed == ()
    if how == "a clean filter":
        git(repository, "config", "filter.x.clean", "echo x")
        (repository / ".git/info/attributes").write_text("* filter=x\n")
        file.write_text("theirs\n")
        (repository / INSTALL_SCRIPT).write_text("x\n")
        git(repository, "update-index", "--assume-unchanged", INSTALL_SCRIPT)
        assert read(repository).changed == (INSTALL_SCRIPT, "other file")
        (repository / INSTALL_SCRIPT).write_text("#!/bin/bash\n")
    elif how == "replace":
        head = git(repository, "rev-parse", "HEAD")
        file.write_text("theirs\n")
        git(repository, "commit", "-q", "-a", "-m", "two")
        theirs = git(repository, "rev-parse", "HEAD")
        git(repository, "update-ref", "refs/heads/main", head)
        git(repository, "replace", head, theirs)
        assert git(repository, "status", "--porcelain") == ""
    elif how == "exclude":
        (repository / ".gitignore").write_text("made.sh\n")
        (repository / ".git/info/exclude").write_text(".gitignore\nlocal.sh\n*.swp\n")
        for name in ("bin/made.sh", "bin/.local.sh.swp", "local.sh", "bin/local.sh"):
            file = repository / name
            file.touch()
    else:
        git(repository, "update-index", "--assume-unchanged", "other file")
        file.unlink()
        os.mkfifo(file)
    assert read(repository).changed == (str(file.relative_to(repository)),)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as somebody else")
def test_checkout_of_another_owner_runs_nothing_as_root(repository: Path, tmp_path: Path) -> None:
    """With a filter and a transport that say who runs them."""
    ran = repository / "ran"
    note = f"id -u >>{ran}; id -G >>{ran}"
    git(repository, "config", "filter.x.clean", f"sh -c '{note}; cat'")
    git(repository, "config", "remote.origin.uploadpack", f"{note}; git-upload-pack")
    (repository / ".git/info/attributes").write_text("* filter=x\n")
    (repository / "other file").write_text("changed\n")
    for path in (repository, tmp_path / "upstream"):
        # With root's group, as by chown -R nobody on root's clone.
        subprocess.run(["chown", "-R", "65534:0", str(path)], check=True)
    for parent in repository.parents:  # pytest's own folders are its user's
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    found = read(repository)
    assert "other file" in found.changed
    assert upstream_commit(Local(), found) == found.commit
    assert set(ran.read_text().split()) == {"65534"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to start nothing")
@pytest.mark.parametrize(
    "of", ["the checkout", "a work tree", "a .git that is a link", "a link on the way"]
)
def test_checkout_of_roots_that_others_may_exchange_is_refused(
    repository: Path, tmp_path: Path, of: str
) -> None:
    checked, theirs = repository, tmp_path / "theirs"
    theirs.mkdir()
    if of == "the checkout":
        checked = repository.rename(theirs / "phoenix")
    elif of == "a work tree":
        checked = tmp_path / "work tree"
        moved = repository.rename(theirs / "phoenix")
        git(moved, "worktree", "add", "-q", "--detach", str(checked))
    elif of == "a .git that is a link":
        (repository / ".git").rename(theirs / "git")
        (repository / ".git").symlink_to(theirs / "git")
    else:
        (repository / ".git").rename(tmp_path / "git")
        (theirs / "link").symlink_to(tmp_path)
        (repository / ".git").write_text(f"gitdir: {theirs}/link/git\n")
    theirs.chmod(0o1777)
    assert checkout(Local(), str(checked)) is not None
    theirs.chmod(0o777)
    with naming(FactError, checked, f"write to {theirs},", "move the checkout"):
        checkout(Local(), str(checked))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to start nothing")
@pytest.mark.parametrize("key", ["include.path", "includeIf.onbranch:other.path"])
@pytest.mark.parametrize("name", ["included", "none yet"])
def test_checkout_of_roots_that_includes_a_file_of_anothers_is_refused(
    repository: Path, tmp_path: Path, key: str, name: str
) -> None:
    (theirs := tmp_path / "theirs").mkdir()
    (theirs / "included").write_text("[core]\n\tabbrev = 8\n")
    git(repository, "worktree", "add", "-q", "--detach", str(linked := tmp_path / "linked"))
    git(repository, "config", key, f"../../theirs/{name}")
    for checked in (repository, linked):
        assert checkout(Local(), str(checked)) is not None
    os.chown(theirs / "included", 65534, 65534)
    os.chown(theirs, 65534, 65534)
    for checked in (repository, linked):
        with naming(FactError, checked, theirs.name):
            checkout(Local(), str(checked))
        # To read a file, no git runs.
        assert Local().ask(file_of(str(checked), INSTALL_SCRIPT)) == b"#!/bin/bash\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to start nothing")
def test_submodule_is_compared_and_runs_nothing(repository: Path, tmp_path: Path) -> None:
    upstream = str(tmp_path / "upstream")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", upstream, "lib")
    git(repository, "commit", "-q", "-m", "lib")
    git(lib := repository / "lib", "config", "filter.x.clean", f"touch {tmp_path}/ran; cat")
    (lib / ".gitattributes").write_text("* filter=x\n")
    (lib / "other file").write_text("y\n")
    assert read(repository).changed == ()
    git(lib, "-c", "filter.x.clean=cat", "commit", "-q", "--allow-empty", "-m", "two")
    assert read(repository).changed == ("lib",)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to start nothing")
@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_checkout_of_roots_that_others_may_write_is_refused(repository: Path, mode: int) -> None:
    """The group is root's, but may be the mask of an ACL."""
    (repository / ".git/config").chmod(mode)
    with naming(FactError, repository, "root"):
        checkout(Local(), str(repository))


def _moved(repository: Path, tmp_path: Path, where: str) -> Path:
    """Let the checkout's .git be a file that leads elsewhere, whose config is nobody's."""
    folder = tmp_path / "elsewhere"
    if where == "another work tree's":
        git(repository, "worktree", "add", "-q", "--detach", str(folder))
        subprocess.run(["chown", "65534:65534", str(repository / ".git/config")], check=True)
        return folder
    (repository / ".git").rename(folder)
    (repository / ".git").write_text(
        f"gitdir: {folder if where == 'absolute' else '../elsewhere'}\n"
    )
    subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
    return repository


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as somebody else")
@pytest.mark.parametrize("where", ["absolute", "relative", "another work tree's"])
def test_checkout_whose_git_is_a_file_that_leads_to_anothers_runs_nothing_as_root(
    repository: Path, tmp_path: Path, where: str
) -> None:
    ran = tmp_path / "ran"
    ran.touch(mode=0o666)
    ran.chmod(0o666)
    git(repository, "config", "filter.x.clean", f"sh -c 'id -u >>{ran}; cat'")
    (repository / ".git/info/attributes").write_text("* filter=x\n")
    checked = _moved(repository, tmp_path, where)
    (checked / "other file").write_text("changed\n")
    for parent in (repository, *repository.parents):  # pytest's own folders are its user's
        parent.chmod(parent.stat().st_mode | 0o011 | (0o044 if parent == repository else 0))
    with suppress(FactError, CommandFailed):
        checkout(Local(), str(checked))
    assert "0" not in ran.read_text().split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as somebody else")
def test_checkout_of_two_users_is_refused(repository: Path, tmp_path: Path) -> None:
    checked = _moved(repository, tmp_path, "absolute")
    subprocess.run(["chown", "65533", str(checked)], check=True)
    with naming(FactError, "65533", "65534", tmp_path / "elsewhere"):
        checkout(Local(), str(checked))


def git_says(answer: str, code: int = 0) -> Checkout | None:
    argv = ("sh", "status", "/r")
    return checkout(Scripted({argv: (code, answer.encode(), b"no")}), "/r")


def test_checkout_with_every_kind_of_change_names_the_files() -> None:
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
    names = ("a modified file", "a new name", "an old name", "an unknown file", "an unmerged file")
    assert git_says("\0".join(kinds) + "\0") == Checkout("/r", "1234", "main", "", names)


def test_checkout_without_an_answer_is_an_error() -> None:
    assert git_says("nothing\0") is None
    assert git_says("no checkout\0") == Checkout("/r", "", "", "", ())
    with naming(FactError, "/r"):
        git_says("")
    with pytest.raises(CommandFailed):
        git_says("# branch.oid 1234\0", 128)


def test_newer_upstream_commit_is_returned_not_fetched(repository: Path, tmp_path: Path) -> None:
    git(tmp_path / "upstream", "commit", "-q", "--allow-empty", "-m", "two")
    refs = sorted((repository / ".git").rglob("*"))
    assert upstream_of(repository) == git(tmp_path / "upstream", "rev-parse", "HEAD")
    assert upstream_of(repository) != read(repository).commit
    assert sorted((repository / ".git").rglob("*")) == refs, "something was fetched"


def test_upstream_commit_without_the_branch_or_the_repository_is_an_error(
    repository: Path, tmp_path: Path
) -> None:
    git(tmp_path / "upstream", "branch", "-m", "trunk")
    with naming(FactError, "origin/main"):
        upstream_of(repository)
    (tmp_path / "upstream").rename(tmp_path / "gone")
    with naming(FactError, repository, "fatal: "):
        upstream_of(repository)


def test_upstream_commit_of_one_that_never_answers_is_an_error(
    repository: Path, monkeypatch: pytest.MonkeyPatch, stub: Callable[[str, str], Path]
) -> None:
    git(repository, "config", "core.sshCommand", str(stub("ssh", "exec sleep 30")))
    git(repository, "remote", "set-url", "origin", "ssh://nobody@localhost/x")
    monkeypatch.setattr("docker_lxc_gate.facts.repository._UPSTREAM_PATIENCE", 1)
    with naming(FactError, "1 s"):
        upstream_of(repository)


@pytest.mark.parametrize("url", [".", "{}", "file://{}/.git", "../phoenix/"])
def test_upstream_commit_of_a_branch_of_the_checkout_itself_is_an_error(
    repository: Path, tmp_path: Path, url: str
) -> None:
    git(repository, "worktree", "add", "-q", "--track", "-b", "w", f"{tmp_path}/w", "origin/main")
    git(repository, "config", "branch.main.remote", url.format(repository))
    git(repository, "config", "branch.w.remote", str(repository))
    for checked in (repository, tmp_path / "w"):
        with naming(FactError, "a branch of this checkout"):
            upstream_of(checked)


def test_checkout_without_an_upstream_is_no_error(repository: Path, tmp_path: Path) -> None:
    git(repository, "branch", "--unset-upstream")
    assert read(repository).upstream == ""
    assert checkout(Local(), str(tmp_path / "nothing")) is None
    within = repository / "bin"  # a directory within another checkout is none
    assert read(within) == Checkout(str(within), "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as somebody else")
def test_script_is_read_as_the_checkouts_owner(repository: Path, tmp_path: Path) -> None:
    """Whoever owns it may put a link in its place, to what root alone may read."""
    place = str(repository)
    assert Local().ask(file_of(place, INSTALL_SCRIPT)) == b"#!/bin/bash\n"
    assert Local().ask(file_of(place, "none.sh")) is None
    assert Local().ask(file_of(f"{place}/no/such/place", "none.sh")) is None
    secret = tmp_path / "secret"
    secret.write_text("( of root's\n")
    secret.chmod(0o600)
    (repository / INSTALL_SCRIPT).unlink()
    (repository / INSTALL_SCRIPT).symlink_to(secret)
    for above in (repository, *repository.parents):
        if above.owner() == "root" and above.stat().st_mode & 0o777 == 0o700:
            above.chmod(0o711)
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    with pytest.raises(CommandFailed, match="Permission denied"):
        Local().ask(file_of(place, INSTALL_SCRIPT))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as somebody else")
def test_link_to_the_checkout_that_is_exchanged_meanwhile_is_not_followed(
    repository: Path, tmp_path: Path, stub: Callable[[str, str], Path]
) -> None:
    """Whoever owns a directory above may do so after the owner of what it led to was looked at."""
    git(repository, "config", "filter.x.clean", f"touch {tmp_path}/ran; cat")
    (repository / ".gitattributes").write_text("* filter=x\n")
    (repository / INSTALL_SCRIPT).write_text("#!/bin/sh\n")
    subprocess.run(["chown", "-R", "65534:65534", str(repository)], check=True)
    stub("find", f'ln -sfn {repository} {tmp_path}/link\nexec /usr/bin/find "$@"')
    (tmp_path / "link").symlink_to("/usr/share")
    with suppress(FactError):
        checkout(Local(), f"{tmp_path}/link")
    assert (tmp_path / "link").resolve() == repository
    assert not (tmp_path / "ran").exists()
