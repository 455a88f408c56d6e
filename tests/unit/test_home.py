"""Where the checkout is, and the version and commit that a program says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docker_lxc_gate import home
from tests.doubles.samples import ROOT

_NUMBER = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a version, of no commit yet."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    monkeypatch.setattr(home, "HOME", tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    said = ["-c", "user.name=A", "-c", "user.email=a@b.invalid"]
    return subprocess.check_output(["git", "-C", folder, *said, *words], text=True).strip()


def test_version_in_a_clone_names_the_commit_and_says_if_the_tree_has_changes(clone: Path) -> None:
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "first")
    commit = git(clone, "rev-parse", "HEAD")
    assert home.version() == f"1.2.3 (commit {commit})"
    (clone / "conftest.py").touch()
    assert home.version() == f"1.2.3 (commit {commit}, with changes)"


def test_version_in_a_package_is_that_of_its_file_even_below_a_repository(clone: Path) -> None:
    package = clone / "site-packages"
    package.mkdir()
    git(clone, "init", "-q")
    (clone / "pyproject.toml").rename(package / "pyproject.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "HOME", package)
        assert home.version() == "1.2.3 (commit unknown)"
        (package / home.COMMIT).write_text("abc")
        assert home.version() == "1.2.3 (commit abc)"


def test_version_without_git_or_in_a_repository_without_commits_is_unknown(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(clone, "init", "-q")
    assert home.version() == "1.2.3 (commit unknown)"
    monkeypatch.setenv("PATH", "")
    assert home.version() == "1.2.3 (commit unknown)"


def test_module_is_the_one_command() -> None:
    argv = [sys.executable, "-m", "docker_lxc_gate", "--version"]
    said = subprocess.check_output(argv, cwd=ROOT, text=True)
    assert re.match(rf"docker-lxc-gate {re.escape(_NUMBER)} \(commit ", said)
