"""The stages of a measurement: what is run, and on which state of the lab."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from bench.clock import median
from lab.machine import Lab
from lab.node import READY
from remediation import desired, docker_in_lxc
from remediation.edits.phoenix_description import described
from remediation.edits.phoenix_scripts import install_script, setup_script
from remediation.engine.journal import stored
from targets import connect
from targets.errors import FactError
from targets.runtime.pct import Pct
from targets.ssh.connection import Ssh
from targets.target import DEFAULT, parse
from targets.transport import Base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.clock import Clock
    from targets.transport import CommandResult, Transport

_ROOT = Path(__file__).parents[1]
_BARE = Path(__file__).with_name("bare.sh")
#: The limit for any stage under emulation (seconds).
_PATIENCE = 3600.0
#: The scenarios of the two compared stages. The bare shell does the same as these scenarios. It
#: rehearses no rollback, and makes and reads no backups, so these scenarios are left out.
COMPARED = ("-m", "not before_the_plan", "-k", "not PRE-")
GATE = f"gate: pytest features/ {shlex.join(COMPARED)}"
BARE_STAGE = "bare: the same commands in one shell"
STATUS = "status of one container"
UP = "up, from what is there"
FAULT = "F12"
ONE_FAULT = f"one fault ({FAULT}): restore, inject, ask"
#: The number of restores whose median counts, because a restore is short.
_RESTORES = 5
RESTORE = f"restore (median of {_RESTORES})"
#: The name of the faults' snapshot of the compliant container 950; another's has its ctid in it.
_HEALTHY = re.compile("healthy-[0-9a-f]{12}")


def everything(clock: Clock, *, cold: bool) -> None:
    """Measure all stages.

    Args:
        clock: is told the figures.
        cold: also build images and boot from nothing.
    """
    if cold:
        clock.stage("cold up, all of the above", lambda: _cold(clock))
    lab = Lab.open()
    if not clock.stage(UP, lambda: _up(lab)):  # there is nothing to measure
        return
    clock.stage(RESTORE, lambda: median(lambda: _restore(lab, READY), _RESTORES))
    clock.stage("gate: pytest features/", lambda: run("pytest", "features/", "--no-report"))
    clock.stage(GATE, lambda: run("pytest", "features/", "--no-report", *COMPARED))
    clock.stage(BARE_STAGE, lambda: _bare(lab))
    clock.stage(ONE_FAULT, _fault)
    clock.stage(STATUS, lambda: _status(lab, clock))


def quick(clock: Clock) -> None:
    """Measure, in less than two minutes, a lab that is up and has the faults' snapshots.

    Nothing is built: this shows that the benchmark works, and roughly how fast the commands are.
    """
    lab = Lab.open()
    if not clock.stage("restore", lambda: _restore(lab, healthy(lab))):
        return
    for words in (("status",), ("plan",), ("apply", "--yes")):
        clock.stage(f"{words[0]}, nothing to do", partial(nothing_to_do, *words))
    clock.stage(STATUS, lambda: _status(lab, clock))
    clock.stage(ONE_FAULT, lambda: run("faults", FAULT))


def grown(clock: Clock, counts: Sequence[int]) -> None:
    """Measure commands about one container on a node with more and more of them.

    Args:
        clock: is told the figures, each the median of three.
        counts: how many containers the node has, the measured one included. The others are
            stopped.
    """
    lab = Lab.open()
    if not clock.stage("restore", lambda: _restore(lab, healthy(lab))):
        return
    try:
        for number in sorted(counts):
            what = f"{number} containers"
            if not clock.stage(f"{what}: created", partial(_populate, lab, number)):
                return
            for verb in ("status", "plan"):
                clock.stage(f"{what}: {verb}", partial(median, partial(nothing_to_do, verb)))
            gate = ("pytest", "features/", "--no-report", "--target", DEFAULT, "-k", "not PRE-1")
            clock.stage(f"{what}: read-only gate", partial(median, partial(run, *gate)))
    finally:
        lab.restore(READY)


def _populate(lab: Lab, number: int) -> None:
    """Create containers beside the measured one until there are so many."""
    ours = parse(DEFAULT)
    others = tuple(range(ours.ctid + 10, ours.ctid + 9 + number))
    small = replace(ours, reserved=others, template=ours.template.replace("-docker_", "-standard_"))
    node = Ssh(lab.address, name="the lab's node")
    try:
        for ctid in others:
            if Pct(node).state(ctid) is None:
                create = small.creation(ctid, hostname=f"c{ctid}", size=1, features=("nesting",))
                node.run(create, timeout=_PATIENCE).require()
    finally:
        node.close()


def healthy(lab: Lab) -> str:
    """Return the newest snapshot of a compliant container that the faults made.

    Raises:
        FactError: the lab does not run, or has none.
    """
    found = [name for name in _snapshots(lab) if _HEALTHY.fullmatch(name)]
    if not found:
        raise FactError(
            "the lab does not run, or has no snapshot of a compliant container: "
            f"python -m faults {FAULT} makes it"
        )
    return found[-1]


def nothing_to_do(*words: str) -> None:
    """Run a command of ``remediation`` on the lab, and require that it finds nothing to do.

    Raises:
        FactError: it found something, so the figure would be of something else.
    """
    told = json.loads(run("remediation", *words, "--json", "--target", DEFAULT))
    if changes := _changes(told):
        raise FactError(f"{shlex.join(words)} has something to do: {', '.join(changes)}")


def _changes(told: Any) -> list[str]:
    """Return the ids of what ``status``, ``plan`` or ``apply`` would change, or changed."""
    rows = told if isinstance(told, list) else told.get("changes", told.get("actions", []))
    return [str(row.get("id")) for row in rows if row.get("drift") or row.get("changed") is True]


def _snapshots(lab: Lab) -> list[str]:
    return lab.snapshots() if lab.running else []


def _up(lab: Lab) -> None:
    lab.up()


def _fault() -> float:
    """Return how long one fault takes (seconds) on the snapshots that the first run makes."""
    run("faults", FAULT)
    started = time.monotonic()
    run("faults", FAULT)
    return time.monotonic() - started


def _cold(clock: Clock) -> None:
    """Build and boot in a lab of its own, and throw it away."""
    with tempfile.TemporaryDirectory(prefix="bench-lab-") as home:
        lab = Lab.open(Path(home), steps=clock)
        try:
            lab.up()
        finally:
            lab.destroy(images=True)


def _restore(lab: Lab, name: str) -> float:
    started = time.monotonic()
    lab.restore(name)
    return time.monotonic() - started


def run(module: str, *arguments: str) -> str:
    """Run a module of this checkout, and return its standard output.

    Raises:
        ClickException: it did not end with 0; with the end of what it printed.
    """
    argv = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout[-3000:]}{done.stderr[-1000:]}"
        raise click.ClickException(f"{shlex.join(argv[1:])} ended with {done.returncode}:\n{said}")
    return done.stdout


def edited(node: Transport, ctid: int) -> dict[str, bytes]:
    """Return the files that the plan changes on a node, as an editor would leave them, by path."""
    repository = desired.REPOSITORY
    read = {
        path: node.read(f"{repository}/{path}") or b""
        for path in (desired.SETUP_SCRIPT, desired.INSTALL_SCRIPT, desired.CONTAINERS)
    }
    profile = desired.profile(None)
    return {
        f"{repository}/{desired.SETUP_SCRIPT}": setup_script(read[desired.SETUP_SCRIPT]),
        f"{repository}/{desired.INSTALL_SCRIPT}": install_script(read[desired.INSTALL_SCRIPT]),
        f"{repository}/{desired.CONTAINERS}": described(read[desired.CONTAINERS], ctid),
        f"{repository}/{desired.REPOSITORY_PROFILE}": profile,
        desired.PROFILE_PATH: profile,
        desired.TUNABLE_PATH: desired.TUNABLE,
    }


#: The names under which bare.sh looks for these files in /root/plan.
_STAGED = {
    "setup.sh": f"{desired.REPOSITORY}/{desired.SETUP_SCRIPT}",
    "install.sh": f"{desired.REPOSITORY}/{desired.INSTALL_SCRIPT}",
    "containers.json": f"{desired.REPOSITORY}/{desired.CONTAINERS}",
    "profile": desired.PROFILE_PATH,
}


def _stage_bare(lab: Lab) -> None:
    """Put the edited files on a fresh node; not timed, since a user's editor is not either."""
    lab.restore(READY)
    node = Ssh(lab.address, name="the lab's node")
    node.run(["mkdir", "-p", "/root/plan"]).require()
    files = edited(node, 950)
    for name, path in _STAGED.items():
        node.write(f"/root/plan/{name}", files[path])
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


def _status(lab: Lab, clock: Clock) -> None:
    """Look at container 950 as ``python -m remediation status`` does, and count."""
    ssh = Ssh(lab.address, name="the lab's node")
    node, asked = Counted(ssh), parse(DEFAULT)
    try:
        runtime = connect.runtime_on(node, asked, reads=[stored()])
        plan = docker_in_lxc.plan(runtime, asked.ctid, tell=lambda _: None)
        plan.drifts()
        plan.journal.unfinished()
    finally:
        ssh.close()
    clock.counts["round trips of a status (at most 3)"] = len(node.trips)
    clock.counts["starts of pct in a status"] = node.starts
