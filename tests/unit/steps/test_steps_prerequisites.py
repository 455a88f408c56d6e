"""Who makes backups, what is said of them, and what is asked of whom."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import backups as backup
from docker_lxc_gate.facts.prerequisites import Affected, Room
from docker_lxc_gate.facts.repository import Checkout
from docker_lxc_gate.machines.target import Target
from remediation import phoenix
from steps import prerequisites as steps
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import lines_of, naming, not_compliant

PVE, LAB = Target("pve1", 950), Target("lab", 950)
NOBODY: Any = None


def test_made_by_this_run_is_a_backup_of_its_own_lab_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[str] = []
    monkeypatch.setattr(steps, "back_up_lab", lambda runtime, ctid, place: places.append(place))

    ask: Any = steps.made_by_this_run
    made = [ask.__wrapped__(NOBODY, LAB, 950, own_lab) for own_lab in (True, False)]
    assert made == [True, False]
    assert places == ["/var/lib/vz/dump"]


OURS = "hostname: docker-950\n"
JUDGES = [steps.container_is_backed_up, steps.node_is_backed_up]


def judge(step: Any, backups: backup.Backups) -> None:
    if step is steps.node_is_backed_up:
        step(NOBODY, backups, PVE)
    else:
        node = Machine({"/etc/pve/lxc/950.conf": OURS, "/a.log": ""})
        step(node, backups, PVE, Runtime(node), reads_archives=True)


@pytest.mark.parametrize("step", JUDGES)
@pytest.mark.parametrize(
    ("seen", "defects", "told"),
    [
        ((("/a", "/b"), ()), (), (AssertionError, "/a, /b")),
        (((), ()), (), (AssertionError, "/var/lib/vz/dump")),
        ((("/a",), ("nas",)), (), (FactError, "and nas ")),
        ((("/a",), ()), ("x is empty",), (AssertionError, "x is empty")),
    ],
)
def test_is_backed_up_without_a_backup_that_counts_is_red_or_undetermined(
    step: Any,
    seen: tuple[tuple[str, ...], tuple[str, ...]],
    defects: tuple[str, ...],
    told: tuple[type[Exception], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    found = backup.Backups("pve1", (), (), *seen)

    def newest_sound(archives: object, defects_of: Callable[[object], object]) -> tuple[Any, Any]:
        defects_of(archives)
        return None, defects

    def judged(_node: object, each: object, hours: float, of: str, *, read: bool = True) -> None:
        asked.append((each, hours, of, read))

    monkeypatch.setattr(backup, "newest_sound", newest_sound)
    monkeypatch.setattr(steps, "defects", judged)
    with naming(*told):
        judge(step, found)
    of = "pve1" if step is steps.node_is_backed_up else OURS
    assert asked == [((), 24.0, of, True)]


def test_is_clean_where_something_else_is_changed_is_red() -> None:
    good = Checkout("/r", "0" * 40, "main", "origin/main", (phoenix.INSTALL_SCRIPT,))
    steps.is_clean(good, PVE)
    with not_compliant(PVE.repository, "does not exist on pve1"):
        steps.is_clean(None, PVE)
    with not_compliant("/r", "git"):
        steps.is_clean(Checkout("/r"), PVE)
    for changed in (("x",), (phoenix.INSTALL_SCRIPT, "x")):
        with not_compliant("/r", "1 change", ": x;"):
            steps.is_clean(Checkout("/r", "0" * 40, changed=changed), PVE)


def test_is_current_where_its_upstream_is_ahead_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps.repository, "upstream_commit", lambda node, found: "1" * 40)
    found = Checkout("/r", "1" * 40, "main", "origin/main")
    assert lines_of(steps.is_current, NOBODY, found) == ("as origin/main",)
    with naming(FactError, "main of /r has no upstream"):
        steps.is_current(NOBODY, replace(found, upstream=""))
    behind = Checkout("/r", "2" * 40, "main", "origin/main")
    with not_compliant("222222222222", "origin/main", "111111111111", "pull --ff-only"):
        steps.is_current(NOBODY, behind)


def test_runs_as_root_where_the_user_is_another_is_red_and_unknown_undetermined() -> None:
    assert lines_of(steps.runs_as_root, PVE, "0") == ("as root, over SSH",)
    with not_compliant("uid 1000", "NOPASSWD"):
        steps.runs_as_root(PVE, "1000")
    with naming(FactError, "Welcome!"):
        steps.runs_as_root(PVE, "Welcome!")


def test_others_are_safe_unless_one_that_runs_is_reached() -> None:
    def judge(
        state: str = "running", *reserved: int, under: bool = True, may_change: bool = True
    ) -> str:
        both = (Affected(950, "running", True), Affected(951, state, under))
        target = Target("pve1", 950, reserved=reserved)
        (line,) = lines_of(steps.others_are_safe, both, 950, target, may_change)
        return line

    reached_in_vain = judge("running", 951), judge(under=False), judge(may_change=False)
    for said in (judge("stopped"), *reached_in_vain):
        assert "951 (" in said
        assert "950" not in said
    with not_compliant("1 other container", "951"):
        judge()


def test_log_has_room_by_the_need(monkeypatch: pytest.MonkeyPatch) -> None:
    node, window = SimpleNamespace(machine="pve1"), SimpleNamespace(log="auditd")

    def judge(free: int) -> None:
        room = Room("auditd's log", "/var/log", free << 20, 64 << 20)
        monkeypatch.setattr(steps.prerequisites, "log_room", lambda *_: room)
        steps.log_has_room(node, window)  # type: ignore[arg-type]

    judge(64)
    with not_compliant("63 MiB", "auditd's log", "64 MiB"):
        judge(63)
