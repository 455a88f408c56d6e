"""The lab's target, put back and opened; the project's programs, run on it as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.target import parse
from proof.faults.fault import CTID
from proof.faults.states import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.lab.machine import Lab
    from docker_lxc_gate.machines.runtime.base import Runtime

ROOT = Path(__file__).parents[2]
TARGET = f"lab/{CTID}"


@contextmanager
def compliant(lab: Lab) -> Iterator[Runtime]:
    """Put the lab back to where the plan is applied and all is compliant, and open its target."""
    lab.restore(snapshot("compliant"))
    with connect.opened(parse(TARGET), lab=lab_address) as runtime:
        yield runtime


def remediation(*words: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``docker-lxc-gate`` to its end, whatever that is; an option says on what."""
    argv = [sys.executable, "-m", "remediation", *words]
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


def facts(runtime: Runtime, ctid: int) -> dict[str, str]:
    """Return what the witness sees of node and container that a rollback must bring back."""
    return machine_state.comparable_after_rollback(machine_state.record_target(runtime, ctid))
