"""``python -m proof.bench.lab``: what ``scripts/bench`` asks of the project's own modules."""

from __future__ import annotations

import json
import platform
import re
import shlex
from contextlib import suppress
from pathlib import Path
from unittest import mock

import click
from click.testing import CliRunner
from msgspec.structs import replace

from docker_lxc_gate.commandline import exit_codes
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.lab.errors import MissingProgram
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import READY
from docker_lxc_gate.lab.qemu import hardware
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted, wait_until_online
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.target import DEFAULT, parse
from remediation.cli.group import main as remediation

_TARGET = parse(DEFAULT)
#: The limit for one command under emulation (seconds).
_PATIENCE = 1800.0
#: The snapshot that every tool starts from.
_START = "bench-docker"
#: How many differences of two end states are shown.
_SHOWN = 8


@click.group(cls=exit_codes.ProgramGroup)
def main() -> None:
    """Answer scripts/bench, which measures."""


@main.command()
def versions() -> None:
    """Print Python's version and the lab's hardware as JSON; nothing of it without QEMU."""
    known: dict[str, object] = {"python": platform.python_version()}
    with suppress(MissingProgram):
        lab = hardware()
        known |= {"qemu": lab.version, "accelerator": lab.accelerator}
        known |= {"lab_cores": lab.cpus, "lab_memory_mib": lab.memory}
    click.echo(json.dumps(known))


@main.command()
def ssh_config() -> None:
    """Print settings of SSH for the lab's node, with its pinned host key."""
    at = Lab.open().address
    click.echo(
        f"Host node\n  HostName {at.host}\n  Port {at.port}\n  User root\n"
        f"  IdentityFile {at.identity}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {at.known_hosts}\n  StrictHostKeyChecking yes"
    )


@main.command()
@click.argument("number", type=int)
def populate(number: int) -> None:
    """Create containers next to the measured one until there are NUMBER."""
    others = tuple(range(_TARGET.ctid + 10, _TARGET.ctid + 9 + number))
    template = _TARGET.template.replace("-docker_", "-standard_")
    small = replace(_TARGET, reserved=others, template=template)
    with connect.opened(_TARGET, lab=lab_address) as runtime:
        for ctid in others:
            if runtime.state(ctid) is None:
                create = small.creation(ctid, hostname=f"c{ctid}", size=1, features=("nesting",))
                runtime.node.run(create, timeout=_PATIENCE).require()


@main.command()
def status() -> None:
    """Run status on container 950, and print what it costs: round trips and starts of pct."""
    with mock.patch.object(Ssh, "run", autospec=True, side_effect=Ssh.run) as run:
        argv = ["status", "--target", DEFAULT]
        done = CliRunner().invoke(remediation, argv, catch_exceptions=False)
    if done.exit_code not in {0, 1}:  # 1 is drift
        raise FactError(done.output)
    sent = "\n".join(shlex.join(call.args[1]) for call in run.call_args_list)
    starts = re.findall(r"(?<!\S)pct (?:exec|status) [0-9]", sent)
    click.echo(json.dumps({"round trips of a status (at most 3)": run.call_count}))
    click.echo(json.dumps({"starts of pct in a status": len(starts)}))


@main.command()
def start() -> None:
    """Make the snapshot that every tool starts from: without the plan, and Docker on overlay2."""
    lab = Lab.open().up()
    if _START in lab.snapshots():
        return
    with lab.restored(READY) as node:
        node.run(_TARGET.creation(_TARGET.ctid, features=("nesting",)), timeout=_PATIENCE).require()
        runtime = Pct(node)
        runtime.start(_TARGET.ctid)
        inside = runtime.inside(_TARGET.ctid)
        wait_until_booted(inside)
        wait_until_online(inside)
        inside.run(["docker", "run", "--rm", "hello-world"], timeout=_PATIENCE).require()
        inside.run(["sync"]).require()
    lab.snapshot(_START)


@main.command()
def state() -> None:
    """Print what two tools must leave equal, as JSON: all but times and the tools' own files."""
    with connect.opened(_TARGET, lab=lab_address) as runtime:
        click.echo(json.dumps(comparable(machine_state.record_target(runtime, _TARGET.ctid))))


def comparable(facts: dict[str, str]) -> dict[str, str]:
    """Return the facts of a state that two tools must leave equal."""
    return {
        key: fact.rsplit(" ", 1)[0] if "file /" in key else fact
        for key, fact in machine_state.comparable_after_rollback(facts).items()
        if not key.startswith(("node: file /root/", "node: content of /root/"))
    }


@main.command()
@click.argument("ours", type=click.Path(path_type=Path))
@click.argument("theirs", type=click.Path(path_type=Path))
def differences(ours: Path, theirs: Path) -> None:
    """Print in one line how THEIRS, an end state, differs from OURS."""
    both = (json.loads(path.read_text()) for path in (ours, theirs))
    found = machine_state.differences(*both)
    shown = "; ".join(found[:_SHOWN]) + ("; …" if len(found) > _SHOWN else "")
    what = f"{len(found)} differences to our end state: {shown}"
    click.echo(what if found else "the end state is ours")


if __name__ == "__main__":
    main()
