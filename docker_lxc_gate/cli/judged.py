"""A run of the gate as a step of another verb: in a folder of its own, its record read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from docker_lxc_gate.cli import printing
from docker_lxc_gate.commandline.output import SCREEN
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.home import HOME
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.process import uninterrupted
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.verdict import comparison

if TYPE_CHECKING:
    from docker_lxc_gate.verdict.record import Run


def judge(aim: Target, *options: str) -> Run:
    """Run the gate on a target, which is read-only by default, and return its record."""
    with TemporaryDirectory(prefix="docker-lxc-gate-") as folder:
        return record(Path(folder), gate(aim, Path(folder), "--no-report", *options))


def gate(aim: Target, folder: Path, *options: str) -> int:
    """Run the gate on a target, which writes ``reports/`` to the folder; return its exit code."""
    own = aim
    if aim.plan and ("/" in aim.plan or aim.plan.endswith(".toml")):
        own = msgspec.structs.replace(aim, plan=str(Path(aim.plan).absolute()))
    (folder / "targets.toml").write_text(target_file.written("own", own))
    aimed = ("--target-file", "targets.toml", "--target", "own")
    code = _run("docker_lxc_gate", "gate", *aimed, *options, at=folder)
    return code if code >= 0 else 3  # a signal ended it


def record(folder: Path, code: int) -> Run:
    """Return the record of a run that ended with a code; raises FactError if it left none."""
    file = folder / "reports/verdict.json"
    if not file.exists():
        raise FactError(f"the gate ended with {code}, and left no record of a verdict")
    return comparison.read(file)


def compared(old: Run, new: Run) -> int:
    """Print what became of each scenario; return what ``compare`` ends with.

    0: nothing broke; 1: a scenario is not compliant, and was compliant or was not asked; 3: it is
    not known. A prerequisite breaks with the clock, as a backup gets old, and counts for nothing.
    """
    # The files of this very process judged twice, whatever commit they are of.
    old, new = (msgspec.structs.replace(run, clean=True) for run in (old, new))
    for text, style in comparison.lines(old, new):
        printing.line(text, style, to=printing.err)
    rows = [row for row in comparison.compared(old, new) if not _of_the_site(row)]
    if any(row.fails for row in rows):
        return 1
    unknown = any(row.change is comparison.Change.INCOMPARABLE for row in rows)
    return 3 if unknown or any(comparison.unknown(old, new, rows)) else 0


def _of_the_site(row: comparison.ComparedScenario) -> bool:
    kinds = {clause.partition("-")[0] for clause in row.requirements}
    return kinds == {"PRE"}


def _run(*module: str, at: Path) -> int:
    """Run a program of ours in a folder, its output on standard error; return its exit code.

    It is in a group of its own, so that Ctrl-C reaches it once. It ends what it began.
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HOME), *filter(None, sys.path)])}
    env |= {"NO_COLOR": "1"} if SCREEN.no_color else {}
    program = None
    try:
        with uninterrupted():
            argv = [sys.executable, "-P", "-m", *module]
            program = subprocess.Popen(argv, cwd=at, stdout=2, env=env, process_group=0)
        return program.wait()
    except BaseException:
        if program:
            program.send_signal(signal.SIGTERM)  # SIGINT may be ignored, as below a shell's &
            program.wait()
        raise
