"""``docker-lxc-gate prove``."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import msgspec

from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import json_text, print_json, with_form
from docker_lxc_gate.errors import FactError, RemediationError, UsageError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.home import HOME
from docker_lxc_gate.printable import counted
from docker_lxc_gate.verdict.outputs.summary import plain
from remediation import plan_file, provision
from remediation.cli import judged, options, printing
from remediation.cli.bundle import keep, output, sign
from remediation.cli.consent import consent
from remediation.cli.options import opened
from remediation.engine.apply import apply

if TYPE_CHECKING:
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport
    from docker_lxc_gate.verdict.record import Run

#: Faults of the catalogue that are rolled back quickly: of the container's file, its confinement,
#: Docker's driver, and a client that lies.
_FAULTS = ("F02", "F08-seccomp", "F30", "F41")
_EXPECTED, _DIFFERS = "as expected", 5
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


class _Proof(msgspec.Struct):
    """What the bundle's ``proof.json`` has: what came of each fault, and what differs then."""

    faults: dict[str, str]
    node_differs: list[str] = []

    @property
    def noticed(self) -> int:
        """How many faults were as expected."""
        return [*self.faults.values()].count(_EXPECTED)


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
    second, to try the rollback. Run from a clone, with the default plan and pct, it then makes the
    first one again and breaks it in some ways, which the gate must notice. At the end the node must
    be as before. The target's own container is not touched.

    It writes a bundle, and prints the row of docs/versions.md for it.

    Exit code: the gate's; 1: also if a fault was not noticed, or apply failed; 5: also if the node
    is not as before.
    """
    features = plan_file.find(aim.plan).features
    _, argv = provision.reserved(aim, features)
    if len(aim.reserved) == 1:
        raise UsageError("prove needs two ids: reserved = [990, 991] in the target file")
    if output and os.path.lexists(output):
        raise UsageError(f"{output} exists already: name a new file")
    with opened(aim) as runtime, TemporaryDirectory(prefix="docker-lxc-gate-") as place:
        folder = Path(place)
        if there := [each for each in aim.reserved[:2] if runtime.state(each) is not None]:
            raise FactError(f"container {there[0]} exists, and only a new one is ever destroyed")
        from_clone = (HOME / "proof").is_dir() and aim.plan == plan_file.find().name
        faults = _FAULTS if from_clone and runtime.kind == "pct" else ()
        consent(_effects(aim, argv, faults), yes=yes)
        before = _node(runtime.node)
        with provision.thrown_away(runtime, aim, printing.tell, features=features) as ctid:
            own = msgspec.structs.replace(aim, ctid=ctid, reserved=aim.reserved[1:])
            apply(provision.planned(runtime, own, printing.tell))
            code = _gate(own, folder)
        proof = _Proof({} if code else _faults(faults, aim, folder))
        proof.node_differs = machine_state.differences(before, _node(runtime.node))
        for each in proof.node_differs:
            printing.line(f"  {each}", "red", to=printing.err)
        code = code or int(proof.noticed < len(proof.faults))
        try:
            if not (folder / "reports/verdict.json").exists():
                raise FactError(f"the gate ended with {code}, and left no record of a verdict")
            content = json_text(proof).encode()
            made, run = keep(folder / "reports", output, key, content, to=printing.err)
        except RemediationError as error:
            if proof.node_differs:  # which is worse
                printing.error(error)
                sys.exit(_DIFFERS)
            raise
    if form == "json":
        print_json({"bundle": str(made), "verdict": run.verdict, **msgspec.to_builtins(proof)})
    else:
        printing.line(_row(run, proof, made))
    sys.exit(_DIFFERS if proof.node_differs else code)


def _effects(aim: Target, argv: list[str], faults: tuple[str, ...]) -> list[str]:
    """Return what will be done, for the user's consent."""
    first, second = aim.reserved[:2]
    effects = [
        f"a container is created: {shlex.join(argv)}",
        f"the plan {aim.plan} is applied to it and to the node, and rolled back at the end",
        f"the gate changes it, runs an image that it pulls, makes and destroys container {second}",
        f"container {first} is broken on purpose, {counted(len(faults), 'time')}",
        "reports/kill-matrix.json of the clone is replaced",
        f"container {first} is destroyed; all this takes ten minutes to an hour",
    ]
    return effects if faults else [*effects[:3], effects[-1]]


def _node(node: Transport) -> dict[str, str]:
    """Return the state of the node that must be equal afterwards."""
    printing.tell(f"recording the state of {node.machine}")
    state = {f"node: {key}": fact for key, fact in machine_state.record(node).items()}
    return machine_state.comparable_after_rollback(state)


def _gate(own: Target, folder: Path) -> int:
    """Run the gate, which writes its reports to the folder; return its exit code."""
    until = datetime.now(UTC).date() + timedelta(days=1)
    rows = (
        f'[[waiver]]\nscenario = "{each}"\nreason = "{why}"\nowner = "docker-lxc-gate prove"\n'
        f"expires = {until}\n"
        for each, why in _WAIVED.items()
    )
    (folder / "waivers.toml").write_text("".join(rows))
    argv = (
        "docker_lxc_gate",
        "gate",
        *judged.options(own, folder),
        "--allow-mutation",
        "--waivers",
        "waivers.toml",
    )
    return max(3, code) if (code := judged.run(*argv, at=folder, out=2)[0]) < 0 else code


def _faults(faults: tuple[str, ...], aim: Target, folder: Path) -> dict[str, str]:
    """Run faults in a container of their own; return what came of each."""
    if not faults:
        return {}
    own = msgspec.structs.replace(aim, reserved=aim.reserved[:1])  # and so never the lab's default
    argv = ("proof.faults", *faults, *judged.options(own, folder), "--allow-mutation", "--json")
    _, said = judged.run(*argv, at=folder, out=subprocess.PIPE)
    found = dict.fromkeys(faults, "not run")
    for each in json.loads(said or '{"faults": []}')["faults"]:
        wrong = filter(None, (each["unasked"], *each["problems"]))
        found[each["id"]] = "; ".join(wrong) or _EXPECTED
    return found


def _row(run: Run, proof: _Proof, bundle: Path) -> str:
    """Return the bundle's row in docs/versions.md."""
    versions = run.targets[0].versions
    changed = "" if run.clean else ", changed"
    cells = [
        f"{run.ended:%Y-%m-%d}",
        f"{run.version} ({run.commit[:8]}{changed})",
        *(next((versions[n] for n in names if n in versions), "") for names in _VERSIONS),
        f"{run.verdict}; asked: {run.scope}",
        f"{proof.noticed} of {len(proof.faults)}" if proof.faults else "not run",
        f"{len(proof.node_differs)} facts differ" if proof.node_differs else "as before",
        hashlib.sha256(bundle.read_bytes()).hexdigest(),
    ]
    return f"| {' | '.join(map(plain, cells))} |"
