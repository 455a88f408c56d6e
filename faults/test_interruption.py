"""A run that is cut off anywhere, in any way, can be taken back exactly.

For each action of the plan: its points are counted (``Plan.at``), forward and back; at each one
the run is ended in each of five ways; then ``status`` must tell the truth, ``apply`` refuse,
``rollback`` succeed, everything be as before by the witness, and a second ``rollback`` find
nothing. ``SWEEP=all pytest faults/ -k interruption`` does all of it; without SWEEP every
nineteenth case is run, which comes to each action and each kind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults.conftest import snapshot
from faults.interruption import FROM_NOW_ON, KINDS, MEND, Point, Points, connected, one_action
from lab.node import READY
from remediation import witness
from remediation.errors import NotClean, RemediationError
from remediation.runtime import Pct, wait_until_booted
from steps.rollback import CREATE, CTID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.machine import Lab
    from remediation.plan import Plan

_ROOT = Path(__file__).parents[1]
_EVERY = 1 if os.environ.get("SWEEP") == "all" else 19
_TABLE = _ROOT / "reports/interruption.json"


@dataclass(frozen=True)
class Case:
    """One run to be cut off."""

    action: str
    way: str
    point: Point
    kind: str

    def __str__(self) -> str:
        """In a reader's words."""
        half = "half-way through" if self.point.half else "before"
        return (
            f"{self.action} | {self.way} | {self.kind} {half} {self.point.stage} "
            f"{self.point.number} ({self.point.command})"
        )


@pytest.fixture(scope="session")
def interruptible(lab: Lab) -> Lab:
    """A node without the plan, and on it a container with Docker on its default driver."""
    name = snapshot("interruptible")
    if name not in lab.snapshots():
        lab.restore(READY)
        with connected(lab) as ssh:
            ssh.run(CREATE, timeout=300).require()
            runtime = Pct(ssh)
            runtime.start(CTID)
            wait_until_booted(runtime.inside(CTID))
            run = ["docker", "run", "--name", "former", "hello-world"]
            runtime.inside(CTID).run(run, timeout=180).require()
        lab.snapshot(name)
    lab.restore(name)
    return lab


def test_interruption(interruptible: Lab, subtests: pytest.Subtests) -> None:
    """Every action, every point, every kind."""
    lab, rows, started = interruptible, [], time.monotonic()
    with connected(lab) as ssh:
        steps = one_action(Points(ssh, None, lambda: None), CTID, "").steps
        names = [step.action.name for step in steps]
        inside = {step.action.name for step in steps if step.on.machine != ssh.machine}
    assert len(names) > 8, names
    number = 0
    for name in names:
        lab.snapshot("before-action")
        sweep = Sweep(lab, name, deep=name in inside or "features" in name)
        cases = list(sweep.cases())
        chosen = [case for n, case in enumerate(cases, number) if n % _EVERY == 0]
        number += len(cases)
        for case in chosen:
            clock = time.monotonic()
            with subtests.test(msg=str(case)):
                wrong = sweep.run(case)
                rows.append(
                    {"case": str(case), "seconds": time.monotonic() - clock, "wrong": wrong}
                )
                _TABLE.write_text(json.dumps(rows, indent=1))
                print(f"{rows[-1]['seconds']:6.1f} s  {case}  {wrong}", flush=True)
                assert not wrong, wrong
        sweep.go_on()
    print(f"{len(rows)} of {number} cases in {time.monotonic() - started:.0f} s")


class Sweep:
    """All the cases of one action, from a machine on which those before it are applied."""

    def __init__(self, lab: Lab, action: str, *, deep: bool) -> None:
        self.lab, self.action, self._deep = lab, action, deep
        self._before = self._look()

    def _look(self) -> dict[str, str]:
        with connected(self.lab) as ssh:
            runtime = Pct(ssh)
            if not self._deep:
                return witness.undone(witness.record(ssh))
            wait_until_booted(runtime.inside(CTID))
            return witness.undone(witness.both(runtime, CTID))

    def _differences(self) -> list[str]:
        return witness.differences(self._before, self._look())

    def cases(self) -> Iterator[Case]:
        """Go there and back once, and yield a case for each point that was passed, and kind."""
        points: dict[str, list[Point]] = {}
        for way in ("apply", "rollback"):
            with connected(self.lab) as ssh:
                counted = Points(ssh, None, lambda: None)
                plan = one_action(counted, CTID, self.action)
                plan.apply() if way == "apply" else plan.rollback()
                points[way] = counted.seen
            assert len(points[way]) > 4, f"{self.action} has no points in {way}: {points[way]}"
        assert not self._differences(), self._differences()[:5]
        for way, passed in points.items():
            for point in passed:
                for kind in KINDS:
                    if not (point.half and kind in FROM_NOW_ON):
                        yield Case(self.action, way, point, kind)

    def go_on(self) -> None:
        """Apply the action for good."""
        with self._plan() as plan:
            assert any(outcome.changed for outcome in plan.apply())

    @contextmanager
    def _plan(self) -> Iterator[Plan]:
        """Return the action's plan over a connection of its own."""
        with connected(self.lab) as ssh:
            yield one_action(Points(ssh, None, lambda: None), CTID, self.action)

    def run(self, case: Case) -> str:
        """Do it; return what is wrong afterwards, empty if nothing is."""
        if case.way == "rollback":
            with self._plan() as plan:
                plan.apply()
        argv = [CTID, case.action, case.way, case.point, case.kind]
        child = subprocess.run(
            [sys.executable, "-m", "faults.interruption", *map(str, argv)],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        try:
            self._mend(case.kind)
            self._judge(case, child.returncode)
            wrong = ""
        except (RemediationError, AssertionError) as error:
            wrong = f"{type(error).__name__}: {error} [{child.returncode}: {child.stderr[-300:]}]"
        if wrong or case.kind == "power":
            self.lab.restore("before-action")
        return wrong

    def _mend(self, kind: str) -> None:
        """Take the cause away, as its administrator would."""
        if kind == "power":
            self.lab.power_on()
        elif kind in FROM_NOW_ON:
            with connected(self.lab) as ssh:
                ssh.run(["sh", "-c", MEND]).require()

    def _judge(self, case: Case, ended: int) -> None:
        """Hold what the user is told, and what a rollback brings back, against the truth."""
        assert (case.kind == "killed") == (ended == -signal.SIGKILL), "it was not cut off"
        with self._plan() as plan:
            unfinished = plan.journal.unfinished()
            # Done, or in the journal as not done, or not in it at all: anything else is a lie.
            held = any(entry.action == self.action for entry in plan.journal.entries())
            half = case.way == "apply" or case.point.stage != "roll back"
            assert unfinished or not held or not ended or not half, "cut off, and passes for done"
            if unfinished:
                with pytest.raises(NotClean):
                    plan.apply()
        with self._plan() as plan:
            taken_back = plan.rollback()
        if case.kind == "power" and self._deep and not taken_back:
            self._start()
        differing = self._differences()
        assert not differing, f"{len(differing)} differ: {differing[:9]}"
        with self._plan() as plan:
            assert plan.rollback() == [], "a second rollback found something"
            assert not plan.journal.unfinished(), "unfinished after the rollback"

    def _start(self) -> None:
        """Start the container that the power cut stopped, and that no rollback concerned."""
        with connected(self.lab) as ssh:
            if Pct(ssh).state(CTID) != "running":
                Pct(ssh).start(CTID)
