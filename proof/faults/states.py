"""The states that faults start from: snapshots of the lab, made once for each state of the code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.target import parse
from proof.faults.fault import APPLIED, CTID, HEALTHY, HELPER, OTHER, READY, shell
from remediation import docker_in_lxc
from remediation.engine.apply import apply
from steps import rollback

if TYPE_CHECKING:
    from docker_lxc_gate.lab.machine import Lab
    from docker_lxc_gate.machines.transport import Transport

WITHOUT_BACKUPS = "compliant"
_ROOT = Path(__file__).parents[2]
#: Code that changes a machine or writes the journal. Its hash names the snapshots. Facts,
#: connections and the command line only read, so a change there keeps the snapshots.
#: Every module of ``remediation`` counts unless :data:`_LOOKERS` names it.
_WRITERS = (
    "remediation",
    "docker_lxc_gate/machines/runtime",
    "docker_lxc_gate/formats",
    "docker_lxc_gate/machines/files.py",
    "docker_lxc_gate/machines/transport.py",
)
_LOOKERS = ("remediation/__main__.py", "remediation/cli")
#: A whole provisioning under emulation (seconds).
_PROVISION_TIMEOUT = 3600.0
_BACK_UP = program("proof.faults", "back_up.bash")
_HELPER = program("proof.faults", "helper.bash")


@cache
def snapshot(name: str) -> str:
    """Return a snapshot's name, which changes with :func:`written_by`."""
    return f"{name}-{written_by(_ROOT)}"


def written_by(root: Path) -> str:
    """Return the hash of :data:`_WRITERS` in a checkout; raises FileNotFoundError."""
    looking = {path for place in _LOOKERS for path in _files(root / place)}
    writing = {path for place in _WRITERS for path in _files(root / place)} - looking
    content = b"".join(path.read_bytes() for path in sorted(writing))
    return hashlib.sha256(content + _BACK_UP.encode()).hexdigest()[:12]


def _files(place: Path) -> list[Path]:
    found = [path for path in (place, *place.rglob("*")) if path.is_file()]
    if not found:
        raise FileNotFoundError(
            f"{place} does not exist, but the lab's snapshots depend on it: correct _WRITERS"
        )
    return [path for path in found if path.suffix != ".pyc"]


class Wanted(Protocol):
    """What a test on the lab starts from: a fault does, and a row of doctor's."""

    @property
    def release(self) -> str:
        """The Debian release of the container's template; empty for the default."""

    @property
    def start(self) -> str:
        """The state's name."""


def prepare(lab: Lab, ctid: int = CTID, *, faults: Iterable[Wanted] = ()) -> None:
    """Make the missing snapshots: applied, compliant, and healthy.

    Starting from ``ready``, apply the plan, provision the container, and make backups, with a
    snapshot after each step. First put the templates that ``faults`` need on the node. If one
    cannot be made, the other faults still run. A container that only some faults start from, that
    of the rollback's scenarios or a helper script's, is made for these.
    """
    faults = tuple(faults)
    starts = {fault.start for fault in faults}
    releases = {fault.release for fault in faults if fault.release}
    if not releases <= set(lab.state.templates):
        try:
            lab.up(container_releases=sorted(releases))
        except RemediationError as error:
            print(f"cannot make the template of {', '.join(sorted(releases))}: {error}")
            lab.up()
    if OTHER in starts:
        _prepare_other(lab)
    if HELPER in starts:
        _prepare_helper(lab)
    without_plan = bool(starts) and starts <= {READY, OTHER, HELPER}
    if without_plan or _name(HEALTHY, ctid) in lab.snapshots():
        return
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


def _prepare_other(lab: Lab) -> None:
    if rollback.snapshot() in lab.snapshots():
        return
    with lab.restored(READY) as node:
        rollback.give_docker(created(node, rollback.CREATE), "hello-world")
        rollback.keep(node, lab.snapshot)


def _prepare_helper(lab: Lab) -> None:
    if _helper() in lab.snapshots():
        return
    with lab.restored(READY) as node:
        shell(node, _HELPER).require()
    lab.snapshot(_helper())


def _helper() -> str:
    """Return the snapshot's name: no code of ours writes to it, beyond the script."""
    return f"{HELPER}-{hashlib.sha256(_HELPER.encode()).hexdigest()[:12]}"


def created(node: Transport, create: Sequence[str]) -> Transport:
    """Create and start the rollback scenarios' container; return it when it has booted."""
    node.run(create, timeout=300).require()
    runtime = Pct(node)
    runtime.start(rollback.CTID)
    inside = runtime.inside(rollback.CTID)
    wait_until_booted(inside)
    return inside


@contextmanager
def restored(lab: Lab, name: str, ctid: int = CTID) -> Iterator[Transport]:
    """Restore a snapshot that :func:`prepare` made; yields the node.

    The one with the container of the rollback's scenarios is the gate's own, and made here if no
    gate has made it. Backups in a snapshot are as old as the snapshot; they are given the present
    time.
    """
    if name == OTHER:
        _prepare_other(lab)
    if name == HELPER:
        _prepare_helper(lab)
    own = {READY: READY, OTHER: rollback.snapshot(), HELPER: _helper()}
    with lab.restored(own.get(name) or _name(name, ctid)) as node:
        if name == HEALTHY:
            shell(node, program("proof.faults", "date_anew.bash"), ctid).require()
        yield node


def _name(name: str, ctid: int) -> str:
    return snapshot(name if ctid == CTID else f"{name}-{ctid}")
