"""On healthy targets that differ the gate is green, on each one once (``RUNS`` in all)."""

import os

import pytest

from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.target import parse
from proof.faults import run, snapshots
from proof.faults.fault import COMPLIANT, shell
from tests.live.cases.healthy import VARIATIONS, Variation, asked, in_turn

RUNS = int(os.environ.get("RUNS") or len(VARIATIONS))
#: Each variation's runs together: making one takes longer than restoring it.
IN_ORDER = sorted(in_turn(RUNS), key=VARIATIONS.index)


@pytest.mark.parametrize(
    "variation", IN_ORDER, ids=[f"{n}-{each.id}" for n, each in enumerate(IN_ORDER, 1)]
)
def test_healthy_target_is_compliant(variation: Variation, machine: Lab) -> None:
    """Whatever is odd about it, nothing is wrong with it; and it was that odd."""
    where = f"lab/{variation.ctid}"
    with snapshots.restored(machine, variation.start, variation.ctid) as node:
        shell(node, variation.make, variation.ctid).require()
    options = ("--target", where, "--plan", variation.plan, "--allow-mutation")
    found = run.ask(asked(variation.but, variation.plan), *options)
    with connect.opened(parse(where), lab=lab_address) as runtime:
        shell(runtime.node, variation.proof, variation.ctid).require()
    assert {name: result for name, result in found.items() if result.verdict != COMPLIANT} == {}
