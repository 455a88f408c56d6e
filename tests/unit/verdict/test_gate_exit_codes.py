"""Exit code 1 means *not compliant* and nothing else."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docker_lxc_gate.verdict.claim import claim
from docker_lxc_gate.verdict.verdicts import Unanswerable
from tests.doubles.naming import naming
from tests.doubles.samples import ROOT
from tests.unit.verdict.conftest import Toy


@pytest.mark.parametrize("whose", ["a link", "the user 65534"])
def test_gate_whose_reports_are_a_link_or_anothers_changes_nothing(toy: Toy, whose: str) -> None:
    reports, elsewhere = toy.path / "reports", toy.path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    if whose == "a link":
        reports.symlink_to(elsewhere)
    elif os.geteuid() == 0:
        elsewhere.rename(reports)
        os.chown(reports, 65534, 65534)
        elsewhere = reports
    else:
        pytest.skip("only root can give a folder away")
    toy.feature("Then all is well")
    seen = toy.run()
    assert seen.ret == 3
    [said] = seen.errlines
    assert f"results cannot be written to {reports}: it" in said
    assert whose in said
    assert not [line for line in seen.outlines if line]
    assert elsewhere.stat().st_mode & 0o777 == 0o755
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "place", ["allure-results/1-result.json", "junit.xml", "report/index.html"]
)
def test_gate_where_reports_are_another_programs_deletes_nothing(toy: Toy, place: str) -> None:
    toy.feature("Then all is well")
    result = toy.path / "reports" / place
    result.parent.mkdir(parents=True)
    result.touch()
    seen = toy.run()
    assert seen.ret == 3
    assert "it has the results of another program" in seen.errlines[0]
    assert result.exists()


def test_claim_with_a_link_in_the_place_of_its_lock_is_refused(tmp_path: Path) -> None:
    (victim := tmp_path / "victim").write_text("v")
    (reports := tmp_path / "reports").mkdir()
    (reports / ".lock").symlink_to(victim)
    with naming(Unanswerable, reports):
        claim(reports, alone=True)
    assert victim.read_text() == "v"


def test_claim_of_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (file := tmp_path / "a file").touch()
    with naming(Unanswerable, file / "results", "Not a directory", "--alluredir"):
        claim(file / "results", alone=False)
    with naming(Unanswerable, file, "File exists"):
        claim(file, alone=True)


def test_gate_while_another_run_has_reports_is_refused(toy: Toy) -> None:
    toy.feature("Then all is well")
    lock = claim(toy.path / "reports", alone=True)
    assert lock
    with lock:
        seen = toy.run()
        assert seen.ret == 3
        assert f"{toy.path}/reports: another run of the gate writes there" in seen.errlines[0]
        own = toy.run("--alluredir=own", "--junit-xml=own/junit.xml")
        assert own.ret == 0
    assert toy.run().ret == 0


def test_gate_ends_and_leaves_its_folder_free_and_closed_to_others(toy: Toy) -> None:
    toy.feature("Then all is well")
    reports = toy.path / "reports"
    reports.mkdir()
    reports.chmod(0o755)
    assert toy.run().ret == 0
    assert reports.stat().st_mode & 0o077 == 0
    with (reports / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    "flags", [("-O",), pytest.param(("-O", "-W", "ignore"), marks=pytest.mark.laws)]
)
def test_gate_without_assertions_refuses(toy: Toy, flags: tuple[str, ...]) -> None:
    toy.feature("Then an assertion in a Then")
    argv = [sys.executable, *flags, "-m", "pytest", "--no-report"]
    seen = subprocess.run(argv, cwd=toy.path, capture_output=True, text=True, check=False)
    assert seen.returncode == 3
    assert "-O" in seen.stderr
    assert seen.stderr.count("\n") == 1


@pytest.mark.laws
@pytest.mark.parametrize("hook", ["configure(config)", "sessionstart(session)", "collection()"])
def test_gate_interrupted_before_it_collects_ends_with_130(toy: Toy, hook: str) -> None:
    toy.feature("Then all is well")
    toy.conftest(f"\n\ndef pytest_{hook}:\n    raise KeyboardInterrupt\n")
    assert toy.run().ret == 130


def test_gate_where_a_collection_fails_without_interrupt_keeps_pytests_code(toy: Toy) -> None:
    (toy.path / "test_broken.py").write_text("import nix_da")
    assert toy.run("test_broken.py").ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("program", "lacks"),
    [(["remediation", "status"], "click"), (["pytest", "features/"], "allure")],
)
def test_program_in_an_environment_without_packages_ends_with_3(
    tmp_path: Path, program: list[str], lacks: str
) -> None:
    hidden = (
        "import importlib.util as u, runpy, sys\n"
        "find = u.find_spec\n"
        f"u.find_spec = lambda name, *more: None if name == {lacks!r} else find(name, *more)\n"
        "module, *sys.argv[1:] = sys.argv[1:]\n"
        "runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
    )
    argv = [sys.executable, "-c", hidden, *program]
    seen = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert seen.returncode == 3, seen
    assert f" {lacks}." in seen.stderr
    assert seen.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
