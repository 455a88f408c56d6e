"""A run that is cut off anywhere, in any way, can be taken back exactly.

For each action of the plan: its points are counted (``Plan.at``), forward and back; at each one
the run is ended in each of six ways; then the journal and the drift, of which ``status`` tells,
must be the truth, ``apply`` refuse, ``rollback`` succeed, everything be as before by the witness,
and a second ``rollback`` find nothing.

``SWEEP=all pytest tests/live/ -k interruption`` is all of it, ``SWEEP=killed,cut`` that of two
kinds,
``SWEEP=power,tunable`` one kind at the actions with that word in their ids, ``SWEEP=rollback`` the
way back, ``SWEEP=undo,close`` the points of two stages, ``SWEEP=quarters`` those at a quarter and
at three quarters of a command's time, ``SWEEP=1/11`` the first of eleven parts of each action's, to
spread all of it over as many nights. Without SWEEP it is that of two actions, and one at a quarter:
a file on the node, and the package.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import allure
import msgspec
import pytest
from rich.console import Console
from rich.table import Table

from facts import machine_state
from faults import states
from faults.interruption import (
    DONE,
    ENDED,
    FROM_NOW_ON,
    KINDS,
    MEND,
    QUARTERS,
    Point,
    Points,
    connected,
    one_action,
)
from remediation.engine.action import Place
from steps.rollback import CTID
from targets.errors import NotClean
from targets.lock import Lock
from targets.runtime.base import Pct, wait_until_booted
from targets.ssh.connection import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.machine import Lab
    from remediation.engine.plan import Plan

_ROOT = Path(__file__).parents[2]
_TABLE = _ROOT / "reports/interruption.json"
_ASKED = [word for word in os.environ.get("SWEEP", "").split(",") if word]
_KINDS = [kind for kind in KINDS if kind in _ASKED] or list(KINDS)
WAYS = ("apply", "rollback")
_WAYS = [way for way in WAYS if way in _ASKED] or list(WAYS)
#: But for ``apply``, which is a way.
STAGES = ("record", "complete", "follow", "finish", "wake", "keep", "roll back", "undo", "close")
_STAGES = [stage for stage in STAGES if stage in _ASKED]
_PARTS = [part for part in map(re.compile(r"(\d+)/(\d+)").fullmatch, _ASKED) if part]
_FIRST, _EVERY = (int(n) for n in _PARTS[0].groups()) if _PARTS else (1, 1 if _ASKED else 11)
_OTHERS = {*KINDS, *WAYS, *STAGES, "quarters", "all", *(part[0] for part in _PARTS)}
_WORDS = [word for word in _ASKED if word not in _OTHERS]
#: The one on the node that restarts the container.
_OPTIONS = "container-options"
#: Under the plan's profile, and still on its former driver, dockerd does not start: systemd gives
#: up after some tries, and only then is the state one that can be compared.
_STEADY = """
for _ in $(seq 60); do
    case $(systemctl is-active docker) in *activating) sleep 1 ;; *) exit 0 ;; esac
done
exit 1
"""
#: Under the plan's profile, and on its former driver, Docker had failed; after a rollback it may be
#: stopped instead. It ran neither before nor after: that is what there is to compare.
_NOT_RUNNING = re.compile(r"container: active docker\.(service|socket) loaded failed ")
_PART = ("nesting-tunable", "fuse-overlayfs-package")
#: What the containers are that runs are cut off in: with Docker on its default driver, and without.
BASES = (states.DOCKER, states.PLAIN)
#: Each case adds to the journal, which each command line reads whole: so many, and back (cases).
_BEFORE_BACK = 10
#: How long the last commands of a run that is gone may take (seconds).
_LAST_COMMANDS = 300.0
_EARLY = re.compile(rf"AssertionError: {ENDED} (?P<seconds>[0-9.]+) s")


@dataclass(frozen=True)
class Case:
    """One run to be cut off; ``action`` is the action's id."""

    action: str
    way: str
    point: Point
    kind: str

    def __str__(self) -> str:
        """In a reader's words."""
        where = f"at {self.point.share:g} of" if self.point.share else "before"
        return (
            f"{self.action} | {self.way} | {self.kind} {where} {self.point.stage} "
            f"{self.point.number} ({self.point.command})"
        )


def _interruptible(lab: Lab, base: str) -> tuple[dict[str, bool], set[str]]:
    """Put the lab back to :func:`faults.states.bare`.

    Returns:
        The ids of the actions that there is something to do for, in order, and whether each is
        deep: what it changes is in the container, or restarts it; and the ids of all there are.
    """
    states.bare(lab, base)
    with connected(lab) as ssh:
        drifts = one_action(Points(ssh), CTID, "").drifts()
    deep = {
        step.action.id: step.place is Place.CONTAINER or step.action.id == _OPTIONS
        for step, drift in drifts
        if drift is not None
    }
    return deep, {step.action.id for step, _ in drifts}


def _sweeps(lab: Lab, runs: Runs) -> Iterator[Sweep]:
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
                sweep = Sweep(lab, runs, action, deep=there[action])
                yield sweep
                sweep.go_on()
                asked.remove(action)
            elif asked and _ASKED:  # a part of some actions does without the others
                _apply(lab, action)
    assert known == every or not _ASKED, f"never anything to do for {sorted(every - known)}"
    nobody = [word for word in _WORDS if not any(word in action for action in known)]
    assert not nobody, f"no action's id has {nobody}; they are: {sorted(known)}"
    assert set(_PART) <= known, f"of {_PART} there are only {sorted(known)}"


def _is_asked(action: str) -> bool:
    if not _ASKED:
        return action in _PART
    return not _WORDS or any(word in action for word in _WORDS)


def _is_chosen(case: Case) -> bool:
    at_stage = not _STAGES or case.point.stage in _STAGES
    at_share = "quarters" not in _ASKED or case.point.share in QUARTERS
    return case.kind in _KINDS and case.way in _WAYS and at_stage and at_share


def _part(cases: list[Case]) -> list[Case]:
    """Return the part of them that was asked for; if nobody asked, also one at a quarter."""
    quarters = [case for case in cases if case.point.share in QUARTERS] if not _ASKED else []
    return [case for case in cases if case not in quarters][_FIRST - 1 :: _EVERY] + quarters[:1]


def _apply(lab: Lab, action: str) -> None:
    with connected(lab) as ssh:
        one_action(Points(ssh), CTID, action).apply()


def test_interruption(machine: Lab, subtests: pytest.Subtests) -> None:
    """Every action, every point, every kind; the table is in reports/interruption.json."""
    assert 1 <= _FIRST <= _EVERY, f"there is no part {_FIRST} of {_EVERY}"
    assert len(_PARTS) <= 1, "one part at a time"
    started, rows = time.monotonic(), list[Row]()
    with Runs() as runs:
        for sweep in _sweeps(machine, runs):
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
    said = f"{len(rows)} runs cut off in {time.monotonic() - started:.0f} s"
    table = _table(rows)
    table.caption = said
    Console(width=110).print(table)
    page = Console(width=110, record=True, file=io.StringIO())
    page.print(table)
    allure.attach(page.export_html(), said, allure.attachment_type.HTML)


@dataclass(frozen=True)
class Row:
    """What became of a case; ``wrong`` is empty if everything was as it must be."""

    case: Case
    seconds: float
    wrong: str


def _table(rows: list[Row]) -> Table:
    """Return how many runs were cut off, by action and kind, and how many of them went wrong."""
    table = Table("action", *KINDS, title="Runs cut off", box=None, pad_edge=False)
    for action in dict.fromkeys(row.case.action for row in rows):
        cells = []
        for kind in KINDS:
            mine = [row for row in rows if (row.case.action, row.case.kind) == (action, kind)]
            wrong = sum(bool(row.wrong) for row in mine)
            cells.append(f"{len(mine)}" + (f" ({wrong} wrong)" if wrong else ""))
        table.add_row(action, *cells)
    return table


class Runs:
    """Runs to be cut off. The next one's program is started ahead: to import it takes a second."""

    def __init__(self) -> None:
        self._next = self._started()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the one that nobody wants any more."""
        self._next.communicate(timeout=60)

    @staticmethod
    def _started() -> subprocess.Popen[str]:
        argv, pipe = [sys.executable, "-m", "faults.interruption"], subprocess.PIPE
        return subprocess.Popen(argv, cwd=_ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def cut_off(self, *told: str) -> tuple[int, str]:
        """Have a run, and return its exit code and what it wrote on standard error."""
        child, self._next = self._next, self._started()
        try:
            _, said = child.communicate(json.dumps(told) + "\n", timeout=900)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise
        return child.returncode, said


class Sweep:
    """All the cases of one action, from a machine on which those before it are applied."""

    def __init__(self, lab: Lab, runs: Runs, action: str, *, deep: bool) -> None:
        self.lab, self.runs, self.action, self._deep = lab, runs, action, deep
        self._ssh = Ssh(lab.address, name="the lab's node")  # ours; the run has one of its own
        self._once: set[str] = set()
        self._since = 0  # cases since the machine was put back
        self._booted = False  # after a power cut: then the container does not run
        self._starts = action == _OPTIONS  # its before-image says whether the container ran
        self._before = self._look()

    def _look(self) -> dict[str, str]:
        if self._booted:
            up = self._ssh.run(["systemctl", "is-system-running", "--wait"], timeout=300)
            assert up.text.strip() == "running", f"after its boot the node is {up.text.strip()}"
        runtime = Pct(self._ssh)
        if not self._deep:  # then the container is nobody's concern, running or not
            facts = machine_state.undone(machine_state.record(self._ssh))
            return {key: fact for key, fact in facts.items() if f"lxc-{CTID}_" not in key}
        wait_until_booted(runtime.inside(CTID))
        runtime.inside(CTID).run(["sh", "-c", _STEADY], timeout=120).require("Docker's state")
        facts = machine_state.undone(machine_state.both(runtime, CTID))
        return {key: fact for key, fact in facts.items() if not _NOT_RUNNING.match(f"{key} {fact}")}

    def _differences(self) -> list[str]:
        return machine_state.differences(self._before, self._look())

    def cases(self) -> Iterator[Case]:
        """Go there and back once, and yield a case for each point that was passed, and kind."""
        points: dict[str, list[Point]] = {}
        for way in WAYS:
            counted = Points(self._ssh)
            plan = one_action(counted, CTID, self.action)
            plan.apply() if way == "apply" else plan.rollback()
            points[way] = counted.seen
            if way == "apply" and self._deep:
                self.lab.snapshot("after-action")
            changes = {(point.stage, point.number) for point in counted.seen}
            assert len(changes) > 2, f"{self.action} has no points in {way}: {changes}"
        assert not self._differences(), self._differences()[:5]
        # A large content is laid beside the journal once: a second run has fewer points there.
        laid = {p.stage for p in points["apply"] if p.number > 1}
        self._once = laid & {"record", "complete"}
        for way, passed in points.items():
            for point in passed:
                for kind in KINDS:
                    if point.can_be(kind):
                        yield Case(self.action, way, point, kind)

    def go_on(self) -> None:
        """Apply the action for good, on a node whose container runs."""
        if self._booted:
            self._to("before-action")
        self._apply()
        self._ssh.close()

    def _to(self, snapshot: str) -> None:
        self._ssh.close()
        self.lab.restore(snapshot)
        self._booted, self._since = False, 0

    def _plan(self) -> Plan:
        return one_action(Points(self._ssh), CTID, self.action)

    def _apply(self) -> None:
        assert any(outcome.changed for outcome in self._plan().apply())

    def run(self, case: Case) -> str:
        """Do it; return what is wrong afterwards, empty if nothing is."""
        wrong = self._run(case)
        if early := _EARLY.match(wrong):  # the machine is faster than when it was counted
            point = replace(case.point, seconds=float(early["seconds"]))
            wrong = self._run(replace(case, point=point))
        return wrong

    def _run(self, case: Case) -> str:
        self._since += 1
        anew = self._since > _BEFORE_BACK or case.point.stage in self._once
        if case.way == "rollback" and self._deep:  # to apply it anew would take long
            self._to("after-action")
        elif anew:
            self._to("before-action")
        ended, said = 0, ""
        try:
            if case.way == "rollback" and not self._deep:
                self._apply()
            ended, said = self.runs.cut_off(
                str(CTID), case.action, case.way, str(case.point), case.kind
            )
            self._mend(case.kind)
            assert said.count(DONE) == 1, "it did not come to its point, or twice"
            assert ENDED not in said, said[said.index(ENDED) :]
            self._judge(case, ended)
            wrong = ""
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - the others are run
            wrong = f"{type(error).__name__}: {error} [{ended}: {said[-300:]}]"
        if wrong or (self._booted and self._deep):
            self._to("before-action")
        return wrong

    def _mend(self, kind: str) -> None:
        """Take the cause away, as its administrator would."""
        if kind == "power":
            self._ssh.close()
            self.lab.power_on()  # and on at once, as its administrator might, while it still boots
            self._booted = True
        elif kind in FROM_NOW_ON:
            self._ssh.run(["sh", "-c", MEND]).require()

    def _judge(self, case: Case, ended: int) -> None:
        """Hold what the user is told, and what a rollback brings back, against the truth."""
        killed = ended == -signal.SIGKILL
        assert killed == (case.kind == "killed"), f"{case.kind}, and it ended with {ended}"
        self._until_free(Lock(self._ssh))
        self._judge_journal(case, ended, self._plan())
        taken_back = self._plan().rollback()
        if case.kind == "power" and self._deep and not (taken_back and self._starts):
            self._start(Pct(self._ssh))
        again = self._plan()
        assert again.rollback() == [], "a second rollback found something"
        assert not again.journal.unfinished(), "unfinished after the rollback"
        differing = self._differences()
        assert not differing, f"{len(differing)} differ: {differing[:9]}"

    @staticmethod
    def _until_free(lock: Lock) -> None:
        """Wait for the last command of the run that is gone, as its user is told to."""
        deadline = time.monotonic() + _LAST_COMMANDS
        while (owner := lock.owner()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not owner, owner

    def _judge_journal(self, case: Case, ended: int, plan: Plan) -> None:
        unfinished = plan.journal.unfinished()
        # Done, or in the journal as not done, or not in it at all: anything else is a lie.
        held = any(entry.action == self.action for entry in plan.journal.entries())
        begun = case.way == "apply" or case.point.stage != "roll back"
        assert unfinished or not held or not ended or not begun, "cut off, and passes for done"
        if case.way == "apply" and held and not unfinished:  # then the drift is what status tells
            assert [drift for _, drift in plan.drifts()] == [None], "passes for done, and is not"
        if unfinished:
            with pytest.raises(NotClean):
                plan.apply()

    @staticmethod
    def _start(runtime: Pct) -> None:
        """Start the container that the power cut stopped, as its administrator would."""
        if runtime.state(CTID) != "running":
            runtime.start(CTID)
