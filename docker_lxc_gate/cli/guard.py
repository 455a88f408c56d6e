"""``docker-lxc-gate guard``."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from msgspec import structs

from docker_lxc_gate.cli import judged, options, printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.facts import startable
from docker_lxc_gate.formats.container_config import may_freeze
from remediation import applied

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.verdict.record import Run

#: What a storage says that can make no snapshot. Source: PVE::AbstractConfig, snapshot_create.
_NOT_AVAILABLE = "snapshot feature is not available"
#: What the gate's own exit codes mean; see docs/verdicts.md. COMMAND's may not be taken for them.
_VERDICTS = range(1, 7)
_NOT_KNOWN = "whether a scenario broke is not known"
#: As in a shell, of a file that cannot be executed.
_NOT_RUN = 126
#: What looks only, and what shows whether Docker starts containers.
_WITH_DOCKER = ("--allow-mutation", "-k", "not mutates or VAL-3")
#: A snapshot copies no data, but waits for the container's file systems (seconds).
_PATIENCE = 600


@click.command(cls=Verb)
@options.yes
@click.option(
    "--allow-mutation",
    "mutation",
    is_flag=True,
    help="Also run Docker containers before and afterwards (VAL-3): only this shows that runc "
    "still starts one.",
)
@options.with_plan
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def guard(aim: Target, *, yes: bool, mutation: bool, command: tuple[str, ...]) -> None:
    """Run a command between two runs of the gate, with a way back for the container.

    COMMAND runs on this machine, as in: guard --target local/950 -- pct exec 950 -- apt-get -y
    upgrade. Before it, the gate judges the container, and Proxmox makes a snapshot of it, if the
    container's storage can. Afterwards the gate judges again. If a scenario broke, Proxmox rolls
    the container back to the snapshot: what was written there since is lost, in volumes, too.

    Exit code 0: nothing broke, and COMMAND ended with 0; 1: a scenario broke; 3: it is not known
    whether one broke. If COMMAND failed and nothing broke, its own exit code comes out, or 3 in
    place of 1 to 6, which mean something else here. The snapshot stays unless the code is 0 or 1.
    """
    if not command:
        raise click.UsageError("name the command, after --: guard --target T -- COMMAND...")
    if shutil.which(command[0]) is None:
        raise click.UsageError(f"there is no program {command[0]} here")
    with options.opened(aim) as runtime:
        runtime.require_control(aim.ctid)
        aim = structs.replace(aim, plan=aim.plan or applied.plan_of(runtime.node, aim)[0])
        asked = _WITH_DOCKER if mutation else ()
        before = judged.judge(aim, *asked)
        consent([_effect(aim.ctid, command)], yes=yes)
        snapshot, why_not = _snapshot(runtime, aim.ctid)
        try:
            if not snapshot:
                consent([f"there is no way back from it: {why_not}"], yes=yes)
            sys.exit(_guarded(runtime, aim, before, command, snapshot=snapshot, asked=asked))
        finally:
            if snapshot and f"[{snapshot}]" in _configuration(runtime, aim.ctid):
                notice = f"the snapshot stays: pct delsnapshot {aim.ctid} {snapshot}"
                printing.line(notice, "yellow", to=printing.err)


def _guarded(
    runtime: Runtime,
    aim: Target,
    before: Run,
    command: tuple[str, ...],
    *,
    snapshot: str,
    asked: tuple[str, ...],
) -> int:
    """Run the command, judge again, and go back if a scenario broke; return the exit code."""
    printing.tell(shlex.join(command))
    try:
        status = subprocess.run(command, check=False).returncode
    except OSError as error:  # no program, though it may be executed
        printing.error(error)
        status = _NOT_RUN
    ended = status if status >= 0 else 128 - status  # a signal's, as a shell says it
    code = judged.compared(before, judged.judge(aim, *asked))
    if code == 1 and snapshot:
        _pct(runtime, "rollback", str(aim.ctid), snapshot)
        if runtime.state(aim.ctid) == "stopped":
            startable.start(runtime, aim.ctid)
        printing.line(f"container {aim.ctid} is as it was at {snapshot}", "yellow", to=printing.err)
    elif code == 1:
        notice = "there is no snapshot: see docker-lxc-gate doctor, or restore a backup"
        printing.line(notice, "red", to=printing.err)
    judged_so = {0: "no scenario broke", 1: "a scenario broke"}.get(code, _NOT_KNOWN)
    notice = f"{command[0]} ended with {ended}; by the gate, before and afterwards: {judged_so}"
    printing.line(notice, "red" if code or ended else "green", to=printing.err)
    code = code or (ended if ended not in _VERDICTS else 3)
    if snapshot and code in {0, 1}:
        _pct(runtime, "delsnapshot", str(aim.ctid), snapshot)
    return code


def _effect(ctid: int, command: tuple[str, ...]) -> str:
    """Return what will be done, for the user's consent."""
    return (
        f"{shlex.join(command)} runs; if a scenario breaks, container {ctid} is rolled back to a "
        "snapshot, and what was written there since is lost"
    )


def _configuration(runtime: Runtime, ctid: int) -> str:
    return (runtime.node.read(runtime.config_path(ctid)) or b"").decode(errors="replace")


def _snapshot(runtime: Runtime, ctid: int) -> tuple[str, str]:
    """Make a snapshot of a container; return its name, or an empty one and why there is none."""
    if runtime.kind != "pct":
        return "", "plain LXC makes no snapshot of a running container"
    if may_freeze(_configuration(runtime, ctid)) and runtime.state(ctid) == "running":
        return "", "the container is given /dev/fuse, and a snapshot might freeze it forever"
    name = f"guard{datetime.now(UTC):%Y%m%d%H%M%S}"
    made = runtime.node.run(["pct", "snapshot", str(ctid), name], timeout=_PATIENCE)
    if _NOT_AVAILABLE in made.stderr.decode(errors="replace"):
        return "", "its storage can make no snapshot"
    made.require()
    return name, ""


def _pct(runtime: Runtime, *words: str) -> None:
    runtime.node.run(["pct", *words], timeout=_PATIENCE).require()
