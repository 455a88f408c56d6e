"""A run that is cut off anywhere, in any way, can be rolled back exactly.

For each action of the plan: its points are counted (``Plan.at``), forward and back; at each one
the run is ended in each of six ways; then the journal and the drift, of which ``status`` tells,
must be the truth, ``apply`` refuse, ``rollback`` succeed, everything be as before by the witness,
and a second ``rollback`` find nothing.

``SWEEP=all pytest tests/live/ -k interruption`` is all of it, ``SWEEP=killed,cut`` that of two
kinds, ``SWEEP=power,tunable`` one kind at the actions with that word in their ids,
``SWEEP=rollback`` the way back, ``SWEEP=restore,close`` the points of two stages,
``SWEEP=quarters`` those at a quarter and at three quarters of a command's time, ``SWEEP=1/11`` the
first of eleven parts of each action's, to spread all of it over as many nights. Without SWEEP it is
one of each kind, at a file on the node: one in the container takes ten times as long.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest

from docker_lxc_gate.lab.machine import Lab
from remediation.engine.action import Place
from remediation.engine.apply import apply
from remediation.engine.plan import Stage
from tests.live.interrupted.interruption import KINDS, QUARTERS, Points, connected, one_action
from tests.live.interrupted.sweep import OPTIONS, WAYS, Case, Sweep
from tests.live.running import DOCKER, PLAIN, ROOT, bare
from tests.live.running import OTHER as CTID

_TABLE = ROOT / "reports/interruption.json"
_ASKED = [word for word in os.environ.get("SWEEP", "").split(",") if word]
_KINDS = [kind for kind in KINDS if kind in _ASKED] or list(KINDS)
_WAYS = [way for way in WAYS if way in _ASKED] or list(WAYS)
#: All but ``apply``, which is also a way.
STAGES = tuple(stage for stage in Stage if stage not in WAYS)
_STAGES = [stage for stage in STAGES if stage in _ASKED]
_PARTS = [part for part in map(re.compile(r"(\d+)/(\d+)").fullmatch, _ASKED) if part]
_FIRST, _EVERY = (int(n) for n in _PARTS[0].groups()) if _PARTS else (1, 1)
_OTHERS = {*KINDS, *WAYS, *STAGES, "quarters", "all", *(part[0] for part in _PARTS)}
_WORDS = [word for word in _ASKED if word not in _OTHERS]
_PART = "nesting-tunable"
#: What the containers are that runs are cut off in: with Docker on its default driver, and without.
BASES = (DOCKER, PLAIN)


def _interruptible(lab: Lab, base: str) -> tuple[dict[str, bool], set[str]]:
    """Put the lab back to :func:`tests.live.running.bare`.

    Returns:
        The ids of the actions that there is something to do for, in order, and whether each is
        deep: what it changes is in the container, or restarts it; and the ids of all there are.
    """
    bare(lab, base)
    with connected(lab) as ssh:
        drifts = one_action(Points(ssh), CTID, "").drifts()
    deep = {
        step.action.id: step.place is Place.CONTAINER or step.action.id == OPTIONS
        for step, drift in drifts
        if drift is not None
    }
    return deep, {step.action.id for step, _ in drifts}


def _sweeps(lab: Lab) -> Iterator[Sweep]:
    """Yield the sweep of each action that is asked about, with those before it applied."""
    known: set[str] = set()
    every: set[str] = set()
    for base in BASES if _ASKED else BASES[:1]:
        there, steps = _interruptible(lab, base)
        every |= steps
        asked = [action for action in there if action not in known and _is_asked(action)]
        known |= there.keys()
        for action in there:
            if action in asked:
                lab.snapshot("before-action")
                sweep = Sweep(lab, action, deep=there[action])
                yield sweep
                sweep.go_on()
                asked.remove(action)
            elif asked and _ASKED:  # a part of some actions does without the others
                _apply(lab, action)
    assert known == every or not _ASKED, f"never anything to do for {sorted(every - known)}"
    nobody = [word for word in _WORDS if not any(word in action for action in known)]
    assert not nobody, f"no action's id has {nobody}; they are: {sorted(known)}"
    assert _ASKED or _PART in known, f"there are only {sorted(known)}"


def _is_asked(action: str) -> bool:
    if not _ASKED:
        return action == _PART
    return not _WORDS or any(word in action for word in _WORDS)


def _is_chosen(case: Case) -> bool:
    at_stage = not _STAGES or case.point.stage in _STAGES
    at_share = "quarters" not in _ASKED or case.point.share in QUARTERS
    return case.kind in _KINDS and case.way in _WAYS and at_stage and at_share


def _part(cases: list[Case]) -> list[Case]:
    """Return the part of them that was asked for; if nobody asked, one of each kind.

    The kinds are spread over the points, from the first to the last. Power is cut at a quarter of a
    command's time, where there is such a point.
    """
    if _ASKED:
        return cases[_FIRST - 1 :: _EVERY]
    found = []
    for number, kind in enumerate(KINDS):
        mine = [case for case in cases if case.kind == kind]
        mine = [case for case in mine if case.point.share in QUARTERS] or mine
        found.append(mine[len(mine) * number // len(KINDS)])
    return found


def _apply(lab: Lab, action: str) -> None:
    with connected(lab) as ssh:
        apply(one_action(Points(ssh), CTID, action))


def test_interruption(machine: Lab, subtests: pytest.Subtests) -> None:
    """Every action, every point, every kind; the table is in reports/interruption.json."""
    assert 1 <= _FIRST <= _EVERY, f"there is no part {_FIRST} of {_EVERY}"
    assert len(_PARTS) <= 1, "one part at a time"
    started, rows = time.monotonic(), list[Row]()
    for sweep in _sweeps(machine):
        for case in _part([case for case in sweep.cases() if _is_chosen(case)]):
            clock = time.monotonic()
            with subtests.test(msg=str(case)):
                wrong = sweep.run(case)
                seconds = round(time.monotonic() - clock, 1)
                rows.append(Row(case, seconds, wrong))
                _TABLE.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
                print(f"{seconds:6.1f} s  {case}  {wrong}", flush=True)
                assert not wrong, wrong
    assert rows, f"no point is where {_ASKED} asks for one"
    print(f"{len(rows)} runs cut off in {time.monotonic() - started:.0f} s")


@dataclass(frozen=True)
class Row:
    """What became of a case; ``wrong`` is empty if everything was as it must be."""

    case: Case
    seconds: float
    wrong: str
