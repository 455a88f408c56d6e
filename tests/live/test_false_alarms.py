"""On healthy targets that differ the gate is green, twenty runs in a row (``RUNS``, if less)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from faults import states
from faults.fault import COMPLIANT, HEALTHY, shell
from faults.run import Gate
from lab.address import lab_address
from targets import connect
from targets.target import parse
from tests.live.cases.healthy import VARIATIONS, Variation, asked, in_turn

if TYPE_CHECKING:
    from lab.machine import Lab

RUNS = int(os.environ.get("RUNS") or 20)
#: Each variation's runs together: making one takes longer than restoring it.
IN_ORDER = sorted(in_turn(RUNS), key=VARIATIONS.index)


@pytest.mark.parametrize(
    "variation", IN_ORDER, ids=[f"{n}-{each.id}" for n, each in enumerate(IN_ORDER, 1)]
)
def test_healthy_target_is_compliant(variation: Variation, lab: Lab) -> None:
    """Whatever is odd about it, nothing is wrong with it; and it was that odd."""
    states.prepare(lab, variation.ctid)
    where = f"lab/{variation.ctid}"
    with Gate("--target", where, "--allow-mutation") as gate:
        with states.restored(lab, HEALTHY, variation.ctid) as node:
            shell(node, variation.make, variation.ctid).require()
        found = gate.ask(asked(variation.but))
    with connect.opened(parse(where), lab=lab_address) as runtime:
        shell(runtime.node, variation.proof, variation.ctid).require()
    assert {name: result for name, result in found.items() if result.verdict != COMPLIANT} == {}
