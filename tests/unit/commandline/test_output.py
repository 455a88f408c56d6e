"""Output that cannot be written ends in what is no verdict, and without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import click
import pytest

from commandline.output import run, written

ROOT = Path(__file__).parents[3]


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


COMMANDS = ["remediation --help", "lab status", "faults --list"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads(command: str, unbuffered: str, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    found = ended(command, writes, tmp_path, PYTHONUNBUFFERED=unbuffered)
    os.close(writes)
    assert found == (3, "error: standard output cannot be written: Broken pipe\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_is_full(command: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        found = ended(command, full.fileno(), tmp_path)
    assert found == (3, "error: the output cannot be written: No space left on device\n")


def test_an_output_that_was_closed_before_anything_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(SystemExit, match="3"))
        stack.enter_context(written())
        raise AssertionError
    assert capsys.readouterr().err == "error: standard output is closed\n"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no", "file"), OSError(28, "full", "file")])
def test_what_is_not_of_the_output_is_not_said_to_be(error: OSError) -> None:
    with pytest.raises(OSError, match=str(error.strerror)), written():
        raise error


def test_what_a_program_ends_with_stays_so() -> None:
    with pytest.raises(SystemExit, match="5"), written():
        sys.exit(5)
    with pytest.raises(KeyError), written():
        raise KeyError


def test_an_error_that_nobody_foresaw_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def broken() -> None:
        raise FileNotFoundError(2, "no", "file")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["broken"])
        with pytest.raises(SystemExit, match="3"):
            run(broken, "python -m broken")
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith("error: python -m broken itself failed: this is a bug, and no verdict\n")
