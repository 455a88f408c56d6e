"""On healthy targets that differ the gate is green, twenty runs in a row (``RUNS``, if less)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.live.cases.healthy import VARIATIONS, Variation, false_alarms, in_turn

if TYPE_CHECKING:
    from lab.machine import Lab

RUNS = int(os.environ.get("RUNS") or 20)
#: Each variation's runs together: making one takes longer than restoring it.
IN_ORDER = sorted(in_turn(RUNS), key=VARIATIONS.index)


@pytest.mark.parametrize(
    "variation", IN_ORDER, ids=[f"{n}-{each.id}" for n, each in enumerate(IN_ORDER, 1)]
)
def test_healthy_target_is_compliant(variation: Variation, lab: Lab) -> None:
    """Whatever is odd about it, nothing is wrong with it."""
    assert false_alarms(variation, lab) == {}
