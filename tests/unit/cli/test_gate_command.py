"""``docker-lxc-gate gate``: pytest on the features that are carried, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from docker_lxc_gate import home
from docker_lxc_gate.cli.group import main
from docker_lxc_gate.home import HOME

OWN = ["pytest", "-c", f"{HOME}/pyproject.toml", f"{HOME}/features"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["-k", "VAL-4", "--target", "a/1", "-x"], ["--target=a/1", "-k", "VAL-4", "-x"]),
        (["--target=a/1", "--target=b/2"], ["--target=a/1", "--target=b/2"]),
        (
            ["--target-file", "t.toml", "--target", "x", "--no-report", "--allow-mutation"],
            ["--target-file=t.toml", "--target=x", "--no-report", "--allow-mutation"],
        ),
        (["-k", "VAL-4"], ["-k", "VAL-4"]),  # in a clone: the lab
        (["--alluredir", "results/7"], ["--alluredir", "results/7"]),
    ],
)
def test_gate_passes_its_options_and_pytests_and_ends_with_pytests_code(
    words: list[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["docker-lxc-gate"])
    monkeypatch.setattr(pytest, "console_main", lambda: 6)
    assert CliRunner().invoke(main, ["gate", *words]).exit_code == 6
    assert sys.argv == [*OWN, *asked]


@pytest.mark.parametrize("words", [[], ["-k", "VAL-4"]])
def test_installed_gate_without_a_target_ends_with_2_and_says_what_to_type(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "INSTALLED", True)
    done = CliRunner().invoke(main, ["gate", *words], prog_name="docker-lxc-gate")
    assert done.exit_code == 2
    assert "\n  docker-lxc-gate gate --target root@pve1/950 " in done.output
    assert "\n  docker-lxc-gate gate --target lab/950 " in done.output


def test_gate_of_a_target_without_its_option_names_the_option() -> None:
    done = CliRunner().invoke(main, ["gate", "local/950"])
    assert done.exit_code == 2
    assert "--target local/950" in done.output


def test_gate_from_any_folder_writes_its_reports_there(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("raise Exception('of no concern')")
    (tmp_path / "steps").mkdir()
    words = ["gate", "-k", "VAL-1", "--no-report", "--target", "root@127.0.0.1:1/950"]
    done = subprocess.run(
        [sys.executable, "-Pm", "docker_lxc_gate", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "verdict: undetermined" in done.stdout
    assert (tmp_path / "reports/junit.xml").is_file()
    assert list((tmp_path / "reports/allure-results").iterdir())
