"""``docker-lxc-gate guard``."""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from docker_lxc_gate.cli import judged, options, printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.facts import startable

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target

#: What a storage says that can make no snapshot. Source: PVE::AbstractConfig, snapshot_create.
_NO_SNAPSHOT = "snapshot feature is not available"
#: A snapshot copies no data, but waits for the container's file systems (seconds).
_PATIENCE = 600


@click.command(cls=Verb)
@options.yes
@options.with_plan
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def guard(aim: Target, yes: bool, command: tuple[str, ...]) -> None:
    """Run a command between two runs of the gate, with a way back for the container.

    COMMAND runs on this machine, as in: guard --target local/950 -- pct exec 950 -- apt-get -y
    upgrade. Before it, the read-only gate judges the container, and Proxmox makes a snapshot of it,
    if the container's storage can. Afterwards the gate judges again. If something broke, the
    container goes back to the snapshot: what was written there since, in volumes, too, is lost.

    Exit code 0: nothing broke; 1: something broke, and the container was taken back, or what to
    type is said; 3: the two runs cannot be compared, and the snapshot stays; else COMMAND's own.
    """
    if not command:
        raise click.UsageError("name the command, after --: guard --target T -- COMMAND...")
    with options.opened(aim) as runtime:
        before = judged.read_only(aim)
        snapshot = _snapshot(runtime, aim.ctid)
        consent([_effect(aim, command, snapshot)], yes=yes)
        printing.tell(shlex.join(command))
        ended = subprocess.run(command, check=False).returncode
        code = judged.compared(before, judged.read_only(aim))
        if code == 1:
            _back(runtime, aim.ctid, snapshot)
        elif snapshot and code:
            printing.line(f"the snapshot {snapshot} stays", "yellow", to=printing.err)
        elif snapshot:
            _pct(runtime, "delsnapshot", str(aim.ctid), snapshot)
    sys.exit(code or ended)


def _effect(aim: Target, command: tuple[str, ...], snapshot: str) -> str:
    what = f"{shlex.join(command)} is run"
    if snapshot:
        return f"{what}; if something broke, container {aim.ctid} goes back to {snapshot}"
    return f"{what}; container {aim.ctid} has no snapshot, and packages have no way back"


def _pct(runtime: Runtime, *words: str) -> None:
    runtime.node.run(["pct", *words], timeout=_PATIENCE).require()


def _snapshot(runtime: Runtime, ctid: int) -> str:
    """Make a snapshot of a container, and return its name; empty if its storage can make none."""
    if runtime.kind != "pct":
        return ""
    name = f"guard{datetime.now(UTC):%Y%m%d%H%M%S}"
    made = runtime.node.run(["pct", "snapshot", str(ctid), name], timeout=_PATIENCE)
    if _NO_SNAPSHOT in made.stderr.decode(errors="replace"):
        return ""
    made.require()
    return name


def _back(runtime: Runtime, ctid: int, snapshot: str) -> None:
    """Take a container back to its snapshot, and start it; say so, or what to do without one."""
    if not snapshot:
        printing.line("there is no snapshot: restore a backup (pct restore), or see doctor", "red")
        return
    _pct(runtime, "rollback", str(ctid), snapshot)
    if runtime.state(ctid) == "stopped":
        startable.start(runtime, ctid)
    _pct(runtime, "delsnapshot", str(ctid), snapshot)
    printing.line(f"container {ctid} is as before {snapshot}; run the gate again", "yellow")
