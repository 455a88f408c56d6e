"""A lab in a known state, seconds away, for each fault."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults.catalogue import CTID
from lab.machine import Lab
from lab.node import READY
from remediation import docker_in_lxc, target
from remediation.ssh import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[1]
#: A whole provisioning under emulation (seconds).
_PROVISION_TIMEOUT = 3600.0


@pytest.fixture(scope="session")
def machine() -> Lab:
    """The lab, running."""
    return Lab.open().up()


@pytest.fixture(scope="session")
def lab(machine: Lab) -> Lab:
    """The lab, with an ``applied`` and a ``compliant`` snapshot of the plan as it is."""
    if snapshot("compliant") not in machine.snapshots():
        _prepare(machine)
    return machine


@cache
def snapshot(name: str) -> str:
    """Return a snapshot's name: another plan is another state."""
    plan = sorted((_ROOT / "remediation").rglob("*"))
    content = b"".join(
        path.read_bytes() for path in plan if path.suffix != ".pyc" and path.is_file()
    )
    return f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def _prepare(lab: Lab) -> None:
    """From ``ready``: apply the plan, keep it, provision the container, keep that."""
    lab.restore(READY)
    with target.opened(target.parse(f"lab/{CTID}")) as runtime:
        docker_in_lxc.plan(runtime, CTID, tell=print).apply()
    lab.snapshot(snapshot("applied"))
    with target.opened(target.parse(f"lab/{CTID}")) as runtime:
        argv = ["phoenix", "create", str(CTID)]
        runtime.node.run(argv, timeout=_PROVISION_TIMEOUT).require()
        runtime.inside(CTID).run(["docker", "pull", "hello-world"], timeout=180).require()
    lab.snapshot(snapshot("compliant"))


@pytest.fixture
def node(lab: Lab) -> Iterator[Ssh]:
    """The node of the lab as it stands when first used: ask after the restore."""
    ssh = Ssh(lab.address, name="the lab's node")
    yield ssh
    ssh.close()
