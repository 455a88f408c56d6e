"""The gate as a process of its own: in ``prove``, and before and after another command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from docker_lxc_gate.commandline.output import SCREEN
from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.home import HOME
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.process import uninterrupted
from docker_lxc_gate.machines.target import Target
from remediation.cli import printing

#: A name for the container in a target file of ours.
_NAME = "own"
records = click.option(
    "--records",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Also judge the container before and after, read-only, and compare. The results are kept "
    "in DIR/before and DIR/after, a new folder.",
)


@contextmanager
def before_and_after(target: Target, folder: Path | None) -> Iterator[None]:
    """Judge a target before and after what is done with it, and print what became of it.

    Args:
        target: the target.
        folder: a new one, for the results of both; None: nothing is judged.

    Raises:
        UsageError: the folder exists.
        FactError: the gate left no record; of before, nothing was done yet.
    """
    from docker_lxc_gate.verdict import comparison  # noqa: PLC0415 - it is slow, and seldom needed

    if not folder:
        yield
        return
    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists already: name a new folder")
    old = comparison.read(_judge(target, folder.absolute() / "before"))
    yield
    new = comparison.read(_judge(target, folder.absolute() / "after"))
    for text, style in comparison.lines(old, new):
        printing.line(text, style, to=printing.err)


def _judge(target: Target, results: Path) -> Path:
    """Judge a target, read-only; return the run's record."""
    printing.tell(f"judging {target}")
    with TemporaryDirectory(prefix="docker-lxc-gate-") as place:
        to = ("--no-report", f"--alluredir={results}", f"--junit-xml={results / 'junit.xml'}")
        argv = ("docker_lxc_gate", "gate", *options(target, Path(place)), *to)
        code, _ = run(*argv, at=Path(place), out=subprocess.DEVNULL)
    if not (record := results / "verdict.json").exists():
        raise FactError(f"the gate ended with {code}, and left no record of a verdict in {results}")
    return record


def options(target: Target, folder: Path) -> list[str]:
    """Write a target file into a folder; return the options that name its target there."""
    if "/" in target.plan or target.plan.endswith(".toml"):
        target = msgspec.structs.replace(target, plan=str(Path(target.plan).absolute()))
    file = folder / "targets.toml"
    file.write_text(target_file.written(_NAME, target))
    return ["--target-file", str(file), "--target", _NAME]


def run(*module: str, at: Path, out: int) -> tuple[int, bytes]:
    """Run a program of ours in a folder; return its exit code and output.

    It is in a group of its own, so that Ctrl-C reaches it once. It ends what it began.
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HOME), *filter(None, sys.path)])}
    env |= {"NO_COLOR": "1"} if SCREEN.no_color else {}
    program = None
    try:
        with uninterrupted():
            argv = [sys.executable, "-P", "-m", *module]
            program = subprocess.Popen(argv, cwd=at, stdout=out, env=env, process_group=0)
        said, _ = program.communicate()
    except BaseException:
        if program:
            program.send_signal(signal.SIGTERM)  # SIGINT may be ignored, as below a shell's &
            program.communicate()
        raise
    return program.returncode, said or b""
