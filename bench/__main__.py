"""``python -m bench``: durations of all stages, in one run on one machine, with ratios."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from lab.machine import Lab
from lab.node import READY
from remediation import desired, docker_in_lxc
from remediation.edits.phoenix_description import described
from remediation.edits.phoenix_scripts import install_script, setup_script
from remediation.engine.journal import stored
from targets import connect
from targets.errors import RemediationError
from targets.ssh.connection import Ssh
from targets.target import parse
from targets.transport import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from targets.transport import CommandResult, Transport

_ROOT = Path(__file__).parents[1]
_BARE = Path(__file__).with_name("bare.sh")
#: The limit for any stage under emulation (seconds).
_PATIENCE = 3600.0
#: The scenarios of the two compared stages. The bare shell does the same as these scenarios. It
#: rehearses no rollback, and makes and reads no backups, so these scenarios are left out.
COMPARED = ("-m", "not before_the_plan", "-k", "not PRE-")
_GATE = f"gate: pytest features/ {shlex.join(COMPARED)}"
_BARE_STAGE = "bare: the same commands in one shell"
_STATUS = "status of one container"
_UP = "up, from what is there"
FAULT = "F12"
_FAULT = f"one fault ({FAULT}): restore, inject, ask"
#: The exit code if a stage failed, so that its figure is not known.
_UNKNOWN = 3
#: The number of restores whose median counts, because a restore is short.
_RESTORES = 5
_RESTORE = f"restore (median of {_RESTORES})"


class Clock:
    """Collects durations; it is also the lab's Steps, so that the lab's own stages count."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float]] = []
        self.failed: dict[str, str] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Time a stage (seconds), and print the duration."""
        started = time.monotonic()
        yield
        self.say(what, time.monotonic() - started)

    def say(self, what: str, seconds: float) -> None:
        """Keep a figure, and print it now, because a later stage may fail."""
        self.rows.append((what, seconds))
        print(f"{what}: {seconds:.1f} s", file=sys.stderr, flush=True)

    def stage(self, what: str, do: Callable[[], float | None]) -> None:
        """Run a stage; a failed one is named at the end, and the next stages still run.

        Args:
            what: its name.
            do: runs it, and returns its figure (seconds) if that is not its duration.
        """
        started = time.monotonic()
        try:
            seconds = do()
        except (RemediationError, click.ClickException) as error:
            self.failed[what] = str(error)
            print(f"{what}: failed: {error}", file=sys.stderr, flush=True)
        else:
            self.say(what, time.monotonic() - started if seconds is None else seconds)

    def seconds(self, what: str) -> float | None:
        """Return a stage's duration, None if it is not known."""
        return dict(self.rows).get(what)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cold/--no-cold", default=True, help="Also build images and boot from nothing.")
def main(cold: bool) -> None:
    """Measure image build, cold up, restore, gate, bare commands, one fault and one status.

    Each figure is printed when it is known. Exit code 0: all were measured; 3: a stage failed.
    """
    clock, asked = Clock(), Counts()
    try:
        _measure(clock, asked, cold=cold)
    finally:
        _print(clock, asked)
    if clock.failed:
        sys.exit(_UNKNOWN)


def _measure(clock: Clock, asked: Counts, *, cold: bool) -> None:
    if cold:
        clock.stage("cold up, all of the above", lambda: _cold(clock))
    lab = Lab.open()
    clock.stage(_UP, lambda: _up(lab))
    if _UP in clock.failed:  # there is nothing to measure
        return
    clock.stage(_RESTORE, lambda: sorted(_restore(lab) for _ in range(_RESTORES))[_RESTORES // 2])
    clock.stage("gate: pytest features/", lambda: _run("pytest", "features/", "--no-report"))
    clock.stage(_GATE, lambda: _run("pytest", "features/", "--no-report", *COMPARED))
    clock.stage(_BARE_STAGE, lambda: _bare(lab))
    clock.stage(_FAULT, _fault)
    clock.stage(_STATUS, lambda: _status(lab, asked))


def _up(lab: Lab) -> None:
    lab.up()


def _fault() -> float:
    """Return how long one fault takes (seconds) on the snapshots that the first run makes."""
    _run("faults", FAULT)
    started = time.monotonic()
    _run("faults", FAULT)
    return time.monotonic() - started


def _cold(clock: Clock) -> None:
    """Build and boot in a lab of its own, and throw it away."""
    with tempfile.TemporaryDirectory(prefix="bench-lab-") as home:
        lab = Lab.open(Path(home), steps=clock)
        try:
            lab.up()
        finally:
            lab.destroy(images=True)


def _restore(lab: Lab) -> float:
    started = time.monotonic()
    lab.restore(READY)
    return time.monotonic() - started


def _run(module: str, *arguments: str) -> None:
    argv = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout[-3000:]}{done.stderr[-1000:]}"
        raise click.ClickException(f"{shlex.join(argv[1:])} ended with {done.returncode}:\n{said}")


def _stage_bare(lab: Lab) -> None:
    """Put the edited files on a fresh node; not timed, since a user's editor is not either."""
    lab.restore(READY)
    node = Ssh(lab.address, name="the lab's node")
    node.run(["mkdir", "-p", "/root/plan"]).require()
    repository = desired.REPOSITORY
    edits = {
        "setup.sh": setup_script(node.read(f"{repository}/{desired.SETUP_SCRIPT}")),
        "install.sh": install_script(node.read(f"{repository}/{desired.INSTALL_SCRIPT}")),
        "containers.json": described(node.read(f"{repository}/{desired.CONTAINERS}"), 950),
        "profile": desired.profile(None),
    }
    for name, content in edits.items():
        node.write(f"/root/plan/{name}", content)
    node.close()


def _bare(lab: Lab) -> float:
    """Return how long the commands of one shell take (seconds)."""
    _stage_bare(lab)
    started = time.monotonic()
    node = Ssh(lab.address, name="the lab's node")
    node.run(["bash"], stdin=_BARE.read_bytes(), timeout=_PATIENCE).require()
    node.close()
    return time.monotonic() - started


class Counted(Base):
    """A node's transport that keeps what is asked: one round trip each."""

    def __init__(self, inner: Transport) -> None:
        self._inner, self.machine = inner, inner.machine
        self.trips: list[str] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """Pass it on."""
        self.trips.append(shlex.join(argv))
        return self._inner.run(argv, stdin=stdin, timeout=timeout)

    @property
    def starts(self) -> int:
        """How often ``pct`` is started in all this."""
        return sum(len(re.findall(r"(?<!\S)pct (?:exec|status) \d", each)) for each in self.trips)


@dataclass
class Counts:
    """How much a status asks, None as long as nobody has counted."""

    trips: int | None = None
    starts: int | None = None


def _status(lab: Lab, counts: Counts) -> None:
    """Look at container 950 as ``python -m remediation status`` does, and count."""
    ssh = Ssh(lab.address, name="the lab's node")
    node, asked = Counted(ssh), parse("lab/950")
    try:
        runtime = connect.runtime_on(node, asked, reads=[stored()])
        plan = docker_in_lxc.plan(runtime, asked.ctid, tell=lambda _: None)
        plan.drifts()
        plan.journal.unfinished()
    finally:
        ssh.close()
    counts.trips, counts.starts = len(node.trips), node.starts


def _print(clock: Clock, asked: Counts) -> None:
    table = Table("stage", "seconds", box=None)
    table.columns[1].justify = "right"
    for what, seconds in clock.rows:
        table.add_row(what, f"{seconds:.1f}")
    # The shell's node was restored before its clock began, the gate restores its own.
    gate, restore, bare = (clock.seconds(each) for each in (_GATE, _RESTORE, _BARE_STAGE))
    if gate and restore and bare:
        ratio = (gate - restore) / bare
        table.add_row("ratio gate, without its restore / bare (aim: under 2)", f"{ratio:.2f}")
    if asked.trips is not None:
        table.add_row("round trips of a status (at most 3)", str(asked.trips))
        table.add_row("starts of pct in a status", str(asked.starts))
    for what in clock.failed:
        table.add_row(what, "failed")
    Console().print(table)


if __name__ == "__main__":
    main()
