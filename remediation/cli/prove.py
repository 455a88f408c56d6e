"""``docker-lxc-gate prove``."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import msgspec

from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.home import HOME
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.masking import mask
from docker_lxc_gate.printable import counted
from remediation import plan_file, provision
from remediation.cli import options, printing
from remediation.cli.bundle import keep, output, sign
from remediation.cli.consent import consent
from remediation.cli.opened import opened
from remediation.engine.apply import apply

if TYPE_CHECKING:
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.verdict.record import Run

#: Faults of the catalogue that are rolled back quickly: the container's file, its confinement,
#: Docker's driver, and a client that lies.
_FAULTS = ("F02", "F08-seccomp", "F30", "F41")
_EXPECTED = "as expected"
#: A name for the container in a target file of ours.
_NAME = "proof"
_WAIVERS = """\
[[waiver]]
requirement = "PRE-1"
reason = "a container that is thrown away needs no backup"
owner = "docker-lxc-gate prove"
expires = 9999-12-31
"""
#: What docs/versions.md has, by its names in the record.
_VERSIONS = (
    *(("Proxmox",), ("Kernel",), ("LXC (Proxmox's)", "LXC"), ("AppArmor",)),
    *(("Root file system",), ("Docker",)),
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
    """Try everything on a node, in a container that is made for it and destroyed.

    The target file names the node, a template, and two reserved ids. The first becomes a container
    with the plan, which the gate judges with --allow-mutation; the gate makes and destroys the
    second. From a clone, the first is then made again and broken in some ways, which the gate must
    notice. At the end the node must be as before. The target's own container is not touched.

    It writes reports/ as the gate does, and a bundle of it, and prints its row for
    docs/versions.md.

    Exit code: the gate's; 1: also if a fault was not noticed; 5: the node is not as before.
    """
    features = plan_file.find(aim.plan).features
    ctid, argv = provision.reserved(aim, features)
    faults = _FAULTS if (HOME / "proof").is_dir() and aim.plan == plan_file.find().name else ()
    with opened(aim) as runtime, TemporaryDirectory(prefix="docker-lxc-gate-") as folder:
        if there := [each for each in aim.reserved if runtime.state(each) is not None]:
            raise FactError(f"container {there[0]} exists, and only a new one is ever destroyed")
        consent(_effects(aim, argv, faults), yes=yes)
        printing.tell("recording the state of the node")
        before = machine_state.comparable_after_rollback(machine_state.record(runtime.node))
        with provision.thrown_away(runtime, aim, printing.tell, features=features):
            own = msgspec.structs.replace(aim, ctid=ctid, reserved=aim.reserved[1:])
            apply(provision.planned(runtime, own, printing.tell))
            code = _gate(own, Path(folder))
        proof = _Proof({} if code else _faults(faults, aim, Path(folder)))
        printing.tell("comparing the node with before")
        after = machine_state.comparable_after_rollback(machine_state.record(runtime.node))
    proof.node_differs = machine_state.differences(before, after)
    content = mask(msgspec.json.format(msgspec.json.encode(proof)).decode()).encode()
    made, run = keep(Path("reports"), output, key, to=printing.err, proof=content)
    if form == "json":
        print_json({"bundle": str(made), "verdict": run.verdict, **msgspec.to_builtins(proof)})
    else:
        for each in proof.node_differs:
            printing.line(f"  {each}", "red")
        printing.line(_row(run, proof, made))
    sys.exit(5 if proof.node_differs else code or int(proof.noticed < len(proof.faults)))


def _effects(aim: Target, argv: list[str], faults: tuple[str, ...]) -> list[str]:
    """Return what will be done, for the user's consent."""
    ctid, *others = aim.reserved
    second = f"container {others[0]} is created and destroyed, too" if others else "no other one"
    broken = f"{counted(len(faults), 'time')}, and each is rolled back" if faults else "not at all"
    return [
        f"{' '.join(argv)}; the plan {aim.plan} is applied to it",
        f"the gate changes it, and pulls and runs an image; {second}",
        f"container {ctid} is broken on purpose: {broken}",
        f"container {ctid} is destroyed; all this takes ten minutes to an hour",
    ]


def _gate(own: Target, folder: Path) -> int:
    """Run the gate, which writes its reports where the user stands; return its exit code."""
    waivers = folder / "waivers.toml"
    waivers.write_text(_WAIVERS)
    given = _options(own, folder)
    return _run("docker_lxc_gate", "gate", *given, "--waivers", str(waivers), out=2).returncode


def _faults(faults: tuple[str, ...], aim: Target, folder: Path) -> dict[str, str]:
    """Run faults in a container of their own; return what came of each."""
    if not faults:
        return {}
    ran = _run("proof.faults", *faults, *_options(aim, folder), "--json", out=subprocess.PIPE)
    if not ran.stdout:
        raise FactError(f"the faults could not be run: they ended with {ran.returncode}")
    matrix = json.loads(ran.stdout)
    found = dict.fromkeys(faults, "not run")
    for each in matrix["faults"]:
        wrong = [each["unasked"]] * bool(each["unasked"]) + each["problems"]
        found[each["id"]] = "; ".join(wrong) or _EXPECTED
    return found


def _options(target: Target, folder: Path) -> list[str]:
    file = folder / "targets.toml"
    file.write_text(target_file.written(_NAME, target))
    return ["--target-file", str(file), "--target", _NAME, "--allow-mutation"]


def _run(*module: str, out: int) -> subprocess.CompletedProcess[bytes]:
    """Run a program of ours; after Ctrl-C, wait until it has ended what it began."""
    argv, env = [sys.executable, "-m", *module], {**os.environ, "PYTHONPATH": str(HOME)}
    # In a group of its own, Ctrl-C comes from us alone.
    program = subprocess.Popen(argv, stdout=out, env=env, process_group=0)
    try:
        said, _ = program.communicate()
    except KeyboardInterrupt:
        program.send_signal(signal.SIGINT)
        program.communicate()
        raise
    return subprocess.CompletedProcess(argv, program.returncode, said)


def _row(run: Run, proof: _Proof, bundle: Path) -> str:
    """Return the bundle's row in docs/versions.md."""
    versions = run.targets[0].versions
    cells = [
        f"{run.ended:%Y-%m-%d}",
        f"{run.version} ({run.commit[:8]})",
        *(next((versions[n] for n in names if n in versions), "") for names in _VERSIONS),
        run.verdict,
        f"{proof.noticed} of {len(proof.faults)}" if proof.faults else "not run",
        f"{len(proof.node_differs)} facts differ" if proof.node_differs else "as before",
        hashlib.sha256(bundle.read_bytes()).hexdigest(),
    ]
    return f"| {' | '.join(cells)} |"
