"""``python -m bench``: how long what takes, in one run on one machine, with the ratios."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from lab.machine import Lab
from lab.node import READY
from remediation import docker_in_lxc, target
from remediation.look import looking
from remediation.ssh import Ssh
from remediation.transport import Base

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from remediation.transport import CommandResult, Transport

_ROOT = Path(__file__).parents[1]
_BARE = Path(__file__).with_name("bare.sh")
#: Anything here, under emulation (seconds).
_PATIENCE = 3600.0
#: The two stages that are compared. The shell does all that these scenarios do, and nothing of
#: what is left out: it rehearses no rollback, and makes no backups and reads none to its end.
COMPARED = ("-m", "not before_the_plan", "-k", "not PRE-")
_GATE = f"gate: pytest features/ {shlex.join(COMPARED)}"
_BARE_STAGE = "bare: the same commands in one shell"
_STATUS = "status of one container"
#: Restores are short: the median of this many says more than one.
_RESTORES = 5
_RESTORE = f"restore (median of {_RESTORES})"


class Clock:
    """Collects what took how long; also a lab's Steps, so that its own stages are seen."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float]] = []

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Time a stage (seconds) and say it."""
        started = time.monotonic()
        yield
        self.rows.append((what, time.monotonic() - started))
        print(f"{what}: {self.rows[-1][1]:.1f} s", file=sys.stderr, flush=True)

    def seconds(self, what: str) -> float:
        """Return how long a stage took."""
        return dict(self.rows)[what]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cold/--no-cold", default=True, help="Build images and boot from nothing, too.")
def main(cold: bool) -> None:
    """Measure image build, cold up, restore, gate, bare commands, one fault and one status."""
    clock = Clock()
    if cold:
        _cold(clock)
    lab = Lab.open()
    lab.up()
    restores = sorted(_restore(lab) for _ in range(_RESTORES))
    clock.rows.append((_RESTORE, restores[_RESTORES // 2]))
    with clock("gate: pytest features/"):
        _pytest("features/", "--no-report")
    with clock(_GATE):
        _pytest("features/", "--no-report", *COMPARED)
    _stage_bare(lab)
    with clock(_BARE_STAGE):
        _bare(lab)
    _pytest("faults/", "-q", "-k", "F12")  # prepares the snapshots, if they are not there
    with clock("one fault (F12): restore, inject, ask"):
        _pytest("faults/", "-q", "-k", "F12")
    with clock(_STATUS):
        asked = _status(lab)
    _print(clock, asked)


def _cold(clock: Clock) -> None:
    """Build and boot in a lab of its own, and throw it away."""
    with tempfile.TemporaryDirectory(prefix="bench-lab-") as home:
        lab = Lab.open(Path(home), steps=clock)
        try:
            with clock("cold up, all of the above"):
                lab.up()
        finally:
            lab.destroy(images=True)


def _restore(lab: Lab) -> float:
    started = time.monotonic()
    lab.restore(READY)
    return time.monotonic() - started


def _pytest(*arguments: str) -> None:
    argv = [sys.executable, "-m", "pytest", *arguments]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"pytest {' '.join(arguments)} failed:\n{done.stdout[-3000:]}")


def _stage_bare(lab: Lab) -> None:
    """Put the edited files on a fresh node; not timed, since a user's editor is not either."""
    lab.restore(READY)
    node = Ssh(lab.address, name="the lab's node")
    node.run(["mkdir", "-p", "/root/plan"]).require()
    repository = docker_in_lxc.REPOSITORY
    edits = {
        "setup.sh": docker_in_lxc.setup_script(
            node.read(f"{repository}/{docker_in_lxc.SETUP_SCRIPT}")
        ),
        "install.sh": docker_in_lxc.install_script(
            node.read(f"{repository}/{docker_in_lxc.INSTALL_SCRIPT}")
        ),
        "containers.json": docker_in_lxc.described(
            node.read(f"{repository}/{docker_in_lxc.CONTAINERS}"), 950
        ),
        "profile": docker_in_lxc.profile(None),
    }
    for name, content in edits.items():
        node.write(f"/root/plan/{name}", content)
    node.close()


def _bare(lab: Lab) -> None:
    node = Ssh(lab.address, name="the lab's node")
    node.run(["bash"], stdin=_BARE.read_bytes(), timeout=_PATIENCE).require()
    node.close()


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


def _status(lab: Lab) -> Counted:
    """Look at container 950 as ``python -m remediation status`` does, and count."""
    ssh = Ssh(lab.address, name="the lab's node")
    node, asked = Counted(ssh), target.parse("lab/950")
    try:
        runtime = target.runtime_on(node, asked)
        plan = looking(docker_in_lxc.plan(runtime, asked.ctid, tell=lambda _: None), runtime.node)
        plan.drifts()
        plan.journal.unfinished()
    finally:
        ssh.close()
    return node


def _print(clock: Clock, asked: Counted) -> None:
    table = Table("stage", "seconds", box=None)
    table.columns[1].justify = "right"
    for what, seconds in clock.rows:
        table.add_row(what, f"{seconds:.1f}")
    # The shell's node was restored before its clock began, the gate restores its own.
    gate, bare = clock.seconds(_GATE) - clock.seconds(_RESTORE), clock.seconds(_BARE_STAGE)
    table.add_row("ratio gate, without its restore / bare (aim: under 2)", f"{gate / bare:.2f}")
    table.add_row("round trips of a status (at most 3)", str(len(asked.trips)))
    table.add_row("starts of pct in a status", str(asked.starts))
    Console().print(table)


if __name__ == "__main__":
    main()
