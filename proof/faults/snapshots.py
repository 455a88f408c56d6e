"""The snapshots of the lab that faults start from, and which lab it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.target import parse
from proof.faults.fault import APPLIED, CTID, HEALTHY, HELPER, READY, shell
from remediation import docker_in_lxc
from remediation.engine.apply import apply

if TYPE_CHECKING:
    from docker_lxc_gate.lab.machine import Lab
    from docker_lxc_gate.machines.transport import Transport

WITHOUT_BACKUPS = "compliant"
#: Names the labs' folders, one for each of xdist's workers.
HOMES = "LAB_HOMES"
_ROOT = Path(__file__).parents[2]
#: Code that changes a machine or writes the journal. Its hash names the snapshots.
_WRITERS = ("remediation", "docker_lxc_gate/formats", "docker_lxc_gate/machines")
#: A whole provisioning under emulation (seconds).
_PROVISION_TIMEOUT = 3600.0
_BACK_UP = program("proof.faults", "back_up.bash")
_HELPER = program("proof.faults", "helper.bash")


def choose(config: pytest.Config) -> None:
    """Give each of xdist's workers a lab of its own; refuse to let two share one."""
    homes = list(dict.fromkeys(filter(None, os.environ.get(HOMES, "").split(os.pathsep))))
    workers = len(config.getoption("tx", []))
    if workers > len(homes):
        raise pytest.UsageError(
            f"-n {workers} needs {workers} labs, and {HOMES} names {len(homes)}: "
            f"{HOMES}=FOLDER{os.pathsep}FOLDER (docs/lab.md says how to copy one)"
        )
    if name := getattr(config, "workerinput", {}).get("workerid", ""):
        os.environ["LAB_HOME"] = homes[int(name.removeprefix("gw"))]


@contextmanager
def restored(lab: Lab, start: str, ctid: int = CTID, *, release: str = "") -> Iterator[Transport]:
    """Restore the snapshot of a state, which is made if it is missing; yields the node.

    ``release`` is of the template that the node must have, too. Backups in a snapshot are as old as
    the snapshot; they are given the present time.
    """
    with lab.restored(made(lab, start, ctid, release=release)) as node:
        if start == HEALTHY:
            shell(node, program("proof.faults", "date_anew.bash"), ctid).require()
        yield node


def made(lab: Lab, start: str, ctid: int = CTID, *, release: str = "") -> str:
    """Return the name of a state's snapshot, which is made if it is missing."""
    if release and release not in lab.node.state.templates:
        lab.up(container_releases=[release])  # this drops the snapshots, which are made again
    own = {READY: READY, HELPER: _helper()}
    name = own.get(start) or _name(start, ctid)
    if name not in lab.snapshots():
        if start == HELPER:
            _make_helper(lab)
        else:
            _make_healthy(lab, ctid)
    return name


def _make_healthy(lab: Lab, ctid: int) -> None:
    """Apply the plan, provision the container, and make backups, with a snapshot after each."""
    lab.restore(READY)
    with connect.opened(parse(f"lab/{ctid}"), lab=lab_address) as runtime:
        apply(docker_in_lxc.plan(runtime, ctid, tell=print))
    lab.snapshot(_name(APPLIED, ctid))
    with connect.opened(parse(f"lab/{ctid}"), lab=lab_address) as runtime:
        argv = ["phoenix", "create", str(ctid)]
        runtime.node.run(argv, timeout=_PROVISION_TIMEOUT).require()
        runtime.inside(ctid).run(["docker", "pull", "hello-world"], timeout=180).require()
    lab.snapshot(_name(WITHOUT_BACKUPS, ctid))
    with connect.opened(parse(f"lab/{ctid}"), lab=lab_address) as runtime:
        shell(runtime.node, _BACK_UP, ctid).require()
    lab.snapshot(_name(HEALTHY, ctid))


def _make_helper(lab: Lab) -> None:
    with lab.restored(READY) as node:
        shell(node, _HELPER).require()
    lab.snapshot(_helper())


def _helper() -> str:
    """Return the snapshot's name: no code of ours writes to it, beyond the script."""
    return f"{HELPER}-{hashlib.sha256(_HELPER.encode()).hexdigest()[:12]}"


def _name(start: str, ctid: int) -> str:
    return snapshot(start if ctid == CTID else f"{start}-{ctid}")


@cache
def snapshot(name: str) -> str:
    """Return a snapshot's name, which changes with the code that writes to a machine."""
    paths = (path for place in _WRITERS for path in (_ROOT / place).rglob("*"))
    code = sorted(path for path in paths if path.is_file() and path.suffix != ".pyc")
    content = b"".join(path.read_bytes() for path in code) + _BACK_UP.encode()
    return f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
