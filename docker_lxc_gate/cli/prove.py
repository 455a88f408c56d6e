"""``docker-lxc-gate prove``."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import msgspec

from docker_lxc_gate.cli import judged, options, printing
from docker_lxc_gate.cli.bundle import keep, output, sign
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.cli.options import opened
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import json_text, print_json, with_form
from docker_lxc_gate.errors import FactError, RemediationError, UsageError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.verdict.outputs.markdown import plain
from remediation import plan_file, provision
from remediation.engine.apply import apply

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport
    from docker_lxc_gate.verdict.record import Run

_DIFFERS = 5
#: Scenarios that would judge the site, and why each may be not compliant here.
_WAIVED = {
    "container-backup": "a container that is thrown away needs no backup",
    "node-backup": "what is changed on the node is rolled back, and that is checked",
    "neighbours": "no other container is restarted",
}
#: What docs/versions.md has, by the first of these names that the record has.
_VERSIONS = (
    ("Proxmox",),
    ("Kernel",),
    ("LXC (Proxmox's)", "LXC"),
    ("AppArmor",),
    ("Root file system",),
    ("Docker",),
)


@click.command(cls=Verb)
@options.yes
@with_form()
@output
@sign
@options.with_plan
def prove(aim: Target, yes: bool, form: str, output: Path | None, key: Path | None) -> None:
    """Try the plan on a node, in throw-away containers, and keep the proof.

    The target file names the node, a template, and two reserved ids. The first becomes a container
    with the plan, which the gate judges with --allow-mutation; the gate makes and destroys the
    second, to try the rollback. At the end the node must be as before. The target's own container
    is not touched.

    It writes a bundle, and prints the row of docs/versions.md for it.

    Exit code: the gate's; 1: also if apply failed; 5: also if the node is not as before.
    """
    _, argv = provision.reserved(aim, plan_file.find(aim.plan).features)
    if len(aim.reserved) == 1:
        raise UsageError("prove needs two ids: reserved = [990, 991] in the target file")
    if output and os.path.lexists(output):
        raise UsageError(f"{output} exists already: name a new file")
    with opened(aim) as runtime, TemporaryDirectory(prefix="docker-lxc-gate-") as place:
        folder = Path(place)
        if there := [ctid for ctid in aim.reserved[:2] if runtime.state(ctid) is not None]:
            raise FactError(f"container {there[0]} exists, and only a new one is ever destroyed")
        consent(_effects(aim, argv), yes=yes)
        code, differs = tried(runtime, aim, folder)
        for difference in differs:
            printing.line(f"  {difference}", "red", to=printing.err)
        try:
            judged.record(folder, code)
            content = json_text({"node_differs": differs}).encode()
            made, run = keep(folder / "reports", output, key, content, to=printing.err)
        except RemediationError as error:
            if differs:  # which is worse
                printing.error(error)
                sys.exit(_DIFFERS)
            raise
    if form == "json":
        print_json({"bundle": str(made), "verdict": run.verdict, "node_differs": differs})
    else:
        printing.line(_row(run, differs, made))
    sys.exit(_DIFFERS if differs else code)


def tried(
    runtime: Runtime,
    aim: Target,
    folder: Path,
    *,
    applies: bool = True,
    created: Callable[[int], None] = lambda _: None,
    asked: Callable[[int], None] = lambda _: None,
) -> tuple[int, list[str]]:
    """Try the plan in a throw-away container; return the gate's exit code, and what differs after.

    Unless it ``applies``, the gate judges what the platform gives. It writes its reports to the
    folder. ``created`` is called with the container's id before the plan is applied, and
    ``asked`` after the gate.
    """
    before = _node(runtime.node)
    features = plan_file.find(aim.plan).features
    with provision.thrown_away(runtime, aim, printing.tell, features=features) as ctid:
        created(ctid)
        own = msgspec.structs.replace(aim, ctid=ctid, reserved=aim.reserved[1:])
        if applies:
            apply(provision.planned(runtime, own, printing.tell))
        code = _gate(own, folder)
        asked(ctid)
    return code, machine_state.differences(before, _node(runtime.node))


def _effects(aim: Target, argv: list[str]) -> list[str]:
    """Return what will be done, for the user's consent."""
    (first, second), plan = aim.reserved[:2], plan_file.find(aim.plan).name
    return [
        f"a container is created: {shlex.join(argv)}",
        f"the plan {plan} is applied to it and to the node, and rolled back at the end",
        f"the gate changes it, runs an image that it pulls, makes and destroys container {second}",
        f"container {first} is destroyed; all this takes ten minutes to an hour",
    ]


def _node(node: Transport) -> dict[str, str]:
    """Return the state of the node that must be equal afterwards."""
    printing.tell(f"recording the state of {node.machine}")
    state = {f"node: {key}": fact for key, fact in machine_state.record(node).items()}
    return machine_state.comparable_after_rollback(state)


def _gate(own: Target, folder: Path) -> int:
    """Run the gate, which writes its reports to the folder; return its exit code."""
    until = datetime.now(UTC).date() + timedelta(days=1)
    rows = (
        f'[[waiver]]\nscenario = "{scenario}"\nreason = "{why}"\nowner = "docker-lxc-gate prove"\n'
        f"expires = {until}\n"
        for scenario, why in _WAIVED.items()
    )
    (folder / "waivers.toml").write_text("".join(rows))
    return judged.gate(own, folder, "--allow-mutation", "--waivers", "waivers.toml")


def _row(run: Run, differs: list[str], bundle: Path) -> str:
    """Return the bundle's row in docs/versions.md."""
    versions = run.targets[0].versions
    changed = "" if run.clean else ", changed"
    cells = [
        f"{run.ended:%Y-%m-%d}",
        f"{run.version} ({run.commit[:8]}{changed})",
        *(next((versions[n] for n in names if n in versions), "") for names in _VERSIONS),
        f"{run.verdict}; asked: {run.scope}",
        f"{len(differs)} facts differ" if differs else "as before",
        hashlib.sha256(bundle.read_bytes()).hexdigest(),
    ]
    return f"| {' | '.join(map(plain, cells))} |"
