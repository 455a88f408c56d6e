"""Runs of one action that are cut off, each at a point and in a way; what is judged after each."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.lab.image import NodeImage
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import BOOT_TIMEOUT
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.ssh.connection import Ssh
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean
from remediation.engine.plan import Plan, Stage
from remediation.engine.rollback import roll_back
from tests.live.interrupted.interruption import (
    DONE,
    ENDED,
    FROM_NOW_ON,
    KINDS,
    MEND,
    PROGRAM,
    Point,
    Points,
    one_action,
)
from tests.live.running import OTHER as CTID
from tests.live.running import ROOT, facts

WAYS = ("apply", "rollback")
#: The one on the node that restarts the container.
OPTIONS = "container-options"
#: Under the plan's profile, and still on its former driver, dockerd does not start: systemd gives
#: up after some tries, and only then is the state one that can be compared.
_STEADY = """
for _ in $(seq 60); do
    case $(systemctl is-active docker) in *activating) sleep 1 ;; *) exit 0 ;; esac
done
exit 1
"""
#: Under the plan's profile, and on its former driver, Docker had failed; after a rollback it may be
#: stopped instead. It ran neither before nor after: that is what there is to compare. In between it
#: ran, and dockerd leaves its bridge behind when it ends.
_NOT_RUNNING = re.compile(
    r"container: (active docker\.(service|socket) loaded failed |(address|link) docker0 "
    r"|firewall ip filter DOCKER-USER |sysctl net/ipv6/conf/docker0/)"
)
#: Proxmox writes the container's file at every stop; the plan then gives it its former time back.
#: No journal holds that time: a run that is cut off in between loses it, and nothing else.
_WRITTEN_AT_A_STOP = re.compile(
    rf"node: file /etc/pve/lxc/{CTID}\.conf: (?P<same>f .* )\S+ -> (?P=same)\S+"
)
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


def cut_off(case: Case) -> tuple[int, str]:
    """Have a run that is cut off; return its exit code and what it wrote on standard error."""
    told = (str(CTID), case.action, case.way, str(case.point), case.kind)
    done = subprocess.run(
        [*PROGRAM, *told], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    return done.returncode, done.stderr


class Sweep:
    """All the cases of one action, from a machine on which those before it are applied."""

    def __init__(self, lab: Lab, action: str, *, deep: bool) -> None:
        self.lab, self.action, self._deep = lab, action, deep
        self._ssh = Ssh(lab.node.address, name="the lab's node")  # ours; the run has one of its own
        self._once: set[str] = set()
        self._since = 0  # cases since the machine was put back
        self._booted = False  # after a power cut: then the container does not run
        self._starts = action == OPTIONS  # its before-image says whether the container ran
        self._before = self._look()

    def _look(self) -> dict[str, str]:
        if self._booted:
            up = self._ssh.run(["systemctl", "is-system-running", "--wait"], timeout=300)
            assert up.text.strip() == "running", f"after its boot the node is {up.text.strip()}"
        runtime = Pct(self._ssh)
        if not self._deep:  # then the container is nobody's concern, running or not
            found = machine_state.comparable_after_rollback(machine_state.record(self._ssh))
            return {key: fact for key, fact in found.items() if f"lxc-{CTID}_" not in key}
        wait_until_booted(runtime.inside(CTID))
        runtime.inside(CTID).run(["sh", "-c", _STEADY], timeout=120).require("Docker's state")
        found = facts(runtime, CTID)
        return {key: fact for key, fact in found.items() if not _NOT_RUNNING.match(f"{key} {fact}")}

    def _differences(self) -> list[str]:
        return machine_state.differences(self._before, self._look())

    def cases(self) -> Iterator[Case]:
        """Go there and back once, and yield a case for each point that was passed, and kind."""
        points: dict[str, list[Point]] = {}
        for way in WAYS:
            counted = Points(self._ssh)
            plan = one_action(counted, CTID, self.action)
            apply(plan) if way == "apply" else roll_back(plan)
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
        assert any(outcome.changed for outcome in apply(self._plan()))

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
        ended, said = 0, ""
        try:
            if case.way == "rollback" and self._deep:  # to apply it anew would take long
                self._to("after-action")
            elif anew:
                self._to("before-action")
            if case.way == "rollback" and not self._deep:
                self._apply()
            ended, said = cut_off(case)
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
            node = self.lab.node
            node.start(NodeImage(node.images / node.state.image), node.state)
            node.settle(BOOT_TIMEOUT)  # its administrator looks at once, while it still boots
            self._booted = True
        elif kind in FROM_NOW_ON:
            self._ssh.run(["sh", "-c", MEND]).require()

    def _judge(self, case: Case, ended: int) -> None:
        """Hold what the user is told, and what a rollback brings back, against the truth."""
        killed = ended == -signal.SIGKILL
        assert killed == (case.kind == "killed"), f"{case.kind}, and it ended with {ended}"
        self._until_free(Lock(self._ssh))
        self._judge_journal(case, ended, self._plan())
        rolled_back = roll_back(self._plan())
        if case.kind == "power" and self._deep and not (rolled_back and self._starts):
            self._start(Pct(self._ssh))
        again = self._plan()
        assert roll_back(again) == [], "a second rollback found something"
        assert not again.journal.interrupted(), "unfinished after the rollback"
        differing = self._differences()
        if case.point.stage == Stage.CONSEQUENCE and self.action != OPTIONS:
            differing = [each for each in differing if not _WRITTEN_AT_A_STOP.fullmatch(each)]
        assert not differing, f"{len(differing)} differ: {differing[:9]}"

    @staticmethod
    def _until_free(lock: Lock) -> None:
        """Wait for the last command of the run that is gone, as its user is told to."""
        deadline = time.monotonic() + _LAST_COMMANDS
        while (owner := lock.owner()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not owner, owner

    def _judge_journal(self, case: Case, ended: int, plan: Plan) -> None:
        unfinished = plan.journal.interrupted()
        # Done, or in the journal as not done, or not in it at all: anything else is a lie.
        held = any(entry.action == self.action for entry in plan.journal.entries())
        begun = case.way == "apply" or case.point.stage != Stage.BEGIN
        assert unfinished or not held or not ended or not begun, "cut off, and passes for done"
        if case.way == "apply" and held and not unfinished:  # then the drift is what status tells
            assert [drift for _, drift in plan.drifts()] == [None], "passes for done, and is not"
        if unfinished:
            with pytest.raises(NotClean):
                apply(plan)

    @staticmethod
    def _start(runtime: Pct) -> None:
        """Start the container that the power cut stopped, as its administrator would."""
        if runtime.state(CTID) != "running":
            runtime.start(CTID)
