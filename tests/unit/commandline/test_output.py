"""Output that cannot be written ends in what is no verdict, and without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docker_lxc_gate.commandline.output import written
from tests.doubles.samples import ROOT


def ended(command: str, to: int, home: Path, **more: str) -> tuple[int, str]:
    """Return what a program ends with whose standard output goes to a file descriptor."""
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        env=os.environ | {"LAB_HOME": str(home)} | more,
        stdout=to,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


COMMANDS = ["docker_lxc_gate --help", "docker_lxc_gate lab status"]


@pytest.mark.laws
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_program_into_a_pipe_that_nobody_reads_ends_in_silence_with_its_own_code(
    command: str, unbuffered: str, tmp_path: Path
) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    found = ended(command, writes, tmp_path, PYTHONUNBUFFERED=unbuffered)
    os.close(writes)
    assert found == (3 if "status" in command else 0, "")  # lab status: no machine runs


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_program_whose_reader_ends_early_keeps_its_verdict(unbuffered: str, tmp_path: Path) -> None:
    """As ``| head -1`` does, on standard output and on standard error."""
    (tmp_path / "950.conf").write_text("nonsense\nrootfs: local:1\n" * 5000)
    shell = '"$@" 2>&1 | head -1; exit ${PIPESTATUS[0]}'
    lint = [sys.executable, "-m", "docker_lxc_gate", "lint", str(tmp_path)]
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *lint],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_program_onto_a_full_disk_ends_with_3(command: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        found = ended(command, full.fileno(), tmp_path)
    assert found == (3, "error: the output cannot be written: No space left on device\n")


def test_written_to_a_closed_output_ends_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended, written():
        raise AssertionError
    assert ended.value.code == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "no", "file"), OSError(28, "full", "file"), SystemExit(5)]
)
def test_written_passes_on_what_a_program_ends_with(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, written():
        raise error
    assert raised.value is error
