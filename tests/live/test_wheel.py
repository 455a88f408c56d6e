"""The package, as ``pipx install .`` makes it: installed alone, and run outside of any checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from docker_lxc_gate.home import number
from docker_lxc_gate.lab.machine import Lab
from tests.live.running import DOCKER, ROOT, TARGET, backed_up, bare

_PIP = (sys.executable, "-m", "pip")


def _run(*argv: str | Path, at: Path, code: int = 0) -> str:
    """Run a program in a folder, without this checkout's environment; return what it says."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(argv, cwd=at, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone, without anything that is not committed."""
    clone = tmp_path_factory.mktemp("clone")
    _run("git", "clone", "-q", ROOT, clone, at=clone)
    return clone


@pytest.fixture(scope="module")
def wheel(commit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that is built from it."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(*_PIP, "wheel", "-q", "--no-deps", "-w", folder, commit, at=folder)
    [wheel] = folder.iterdir()
    return wheel


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed with what it needs into an environment of its own."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", folder, at=folder)
    _run(folder / "bin/pip", "install", "-q", "--only-binary", ":all:", wheel, at=folder)
    return folder / "bin/docker-lxc-gate"


def test_wheel_built_again_by_way_of_an_sdist_is_the_same_bytes(
    commit: Path, wheel: Path, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        _run(sys.executable, "-m", "build", "-o", tmp_path, commit, at=tmp_path)
    finally:
        os.umask(before)
    [again] = tmp_path.glob("*.whl")
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())


def test_wheel_has_what_users_run_and_nothing_else(wheel: Path, commit: Path) -> None:
    top = ("features", "steps", "remediation", "conftest.py", "pyproject.toml", "allurerc.mjs")
    tracked = _run("git", "ls-files", "docker_lxc_gate", *top, at=commit).splitlines()
    package = "docker_lxc_gate/"
    wanted = {name if name.startswith(package) else f"{package}checkout/{name}" for name in tracked}
    with ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    assert names == wanted | {f"{package}checkout/commit"}


def test_installed_program_judges_files(program: Path, commit: Path, tmp_path: Path) -> None:
    head = _run("git", "rev-parse", "HEAD", at=commit).strip()
    assert _run(program, "--version", at=tmp_path).endswith(f"(commit {head})\n")
    packages = {path.name for path in program.parents[1].glob("lib/python*/site-packages/*")}
    assert "docker_lxc_gate" in packages
    assert not packages & {
        "features",
        "steps",
        "remediation",
        "proof",
        "mypy",
        "hypothesis",
        "xdist",
    }
    (tmp_path / "daemon.json").write_text('{"storage-driver": "fuse-overlayfs"')
    assert "[json-syntax]" in _run(program, "lint", "daemon.json", at=tmp_path, code=1)
    log = ROOT / "tests/data/denials/example.log"
    assert "denial" in _run(program, "denials", log, at=tmp_path)


#: The machine, with nothing in the folders that install.sh writes to.
_APART = """set -eu
mount -t tmpfs none /opt
mount -t tmpfs none /usr/local/bin
bash "$1/install.sh"
cd "$2"
docker-lxc-gate --version
docker-lxc-gate gate && exit 1
bash "$1/install.sh" --uninstall
ls -A /opt /usr/local/bin
"""


@pytest.mark.parametrize("of", ["checkout", "wheel"])
def test_install_script_installs_one_command_and_leaves_nothing(
    of: str, commit: Path, wheel: Path, tmp_path: Path
) -> None:
    head = _run("git", "rev-parse", "HEAD", at=commit).strip()
    release = commit
    if of == "wheel":
        release = tmp_path / "release"
        release.mkdir()
        for file in (wheel, commit / "install.sh", commit / "constraints.txt"):
            (release / file.name).write_bytes(file.read_bytes())
    apart = ("unshare", "--mount", "--map-root-user", "sh", "-c", _APART, "install")
    said = _run(*apart, release, tmp_path, at=tmp_path)
    version = f"docker-lxc-gate {number()} (commit {head})"
    assert said == (
        f"installed: {version}; next: docker-lxc-gate doctor local/all\n"
        f"{version}\n/opt:\n\n/usr/local/bin:\n"
    )


def test_installed_program_judges_and_changes_the_lab(
    program: Path, lab: Lab, tmp_path: Path
) -> None:
    """From any folder; the reports lie there."""
    bare(lab, DOCKER)
    target = ("--target", TARGET)
    _run(program, "doctor", *target, at=tmp_path)
    _run(program, "plan", *target, at=tmp_path)
    _run(program, "apply", "--yes", *target, at=tmp_path)
    backed_up(TARGET)
    _run(program, "status", *target, at=tmp_path)
    said = _run(program, "gate", *target, at=tmp_path)
    assert "verdict: compliant" in said
    assert (tmp_path / "reports/junit.xml").is_file()
    assert any((tmp_path / "reports/allure-results").glob("*-result.json"))
    _run(program, "rollback", "--yes", *target, at=tmp_path)
    _run(program, "status", *target, at=tmp_path, code=1)
