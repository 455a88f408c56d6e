"""Faults on a real target: which ones may run, and that each is rolled back."""

import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError, RemediationError, UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.target import Target
from proof.faults import real, run
from proof.faults.catalogue import FAULTS
from proof.faults.fault import COMPLIANT, RED, Fault
from proof.faults.run import ScenarioVerdict
from proof.faults.scenarios import scenarios
from tests.doubles.answering import Answering

SAFE = tuple(fault for fault in FAULTS if fault.safe)


def test_require_safe_without_leave_is_refused() -> None:
    with pytest.raises(UsageError):
        real.require_safe(SAFE, named=False, may_change=False)


def test_require_safe_refuses_a_named_unsafe_fault_and_leaves_out_others() -> None:
    with pytest.raises(UsageError) as refused:
        real.require_safe(FAULTS[10:], named=True, may_change=True)
    named = re.findall(r"\bF\d\d[\w-]*", str(refused.value))
    assert named == [fault.id for fault in FAULTS[10:] if not fault.safe]
    assert real.require_safe(FAULTS, named=False, may_change=True) == SAFE
    assert real.require_safe(SAFE, named=True, may_change=True) == SAFE


def test_on_target_with_plain_lxc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Answering(lambda _: b"")
    monkeypatch.setattr(real.connect, "opened", lambda *_, **__: nullcontext(Lxc(node)))
    with pytest.raises(UsageError):
        list(real.on_target(SAFE, Target("pve1", 950, reserved=(951,)), lambda _: None))
    assert node.ran == []


class OnTarget:
    """Two safe faults on a target: what is asked, said and looked at is given, and noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node, self.looks = Answering(lambda _: b""), list[dict[str, str]]()
        self.answers: list[dict[str, ScenarioVerdict] | RemediationError] = []
        own = Target("pve1", 951)
        monkeypatch.setattr(real.connect, "opened", lambda *_, **__: nullcontext(self))
        monkeypatch.setattr(real, "_container", lambda *_: nullcontext(own))
        monkeypatch.setattr(
            real, "_look", lambda *_: self.looks.pop(0) if self.looks else {"a": "1"}
        )
        monkeypatch.setattr(real, "wait_until_booted", lambda _: None)
        monkeypatch.setattr(real.run, "GateProcess", lambda *_: nullcontext(self))

    def inside(self, _: int) -> None:
        return None

    def ask(self, _: object) -> dict[str, ScenarioVerdict]:
        answer = self.answers.pop(0)
        if isinstance(answer, RemediationError):
            raise answer
        return answer

    def results(self) -> list[run.Result]:
        asked = Target("pve1", 950, reserved=(951,))
        return list(real.on_target(TWO, asked, lambda _: None))


TWO = (
    Fault(
        "F98", "one", "break one", red={"driver": ("down",)}, rollback="back one", contained=True
    ),
    Fault(
        "F99", "two", "break two", red={"installed": ("gone",)}, rollback="back two", contained=True
    ),
)
HEALTHY = dict.fromkeys(["driver", "installed"], ScenarioVerdict(COMPLIANT))


def test_on_target_rolls_each_fault_back(monkeypatch: pytest.MonkeyPatch) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [
        HEALTHY,
        HEALTHY | {"driver": ScenarioVerdict(RED, "down")},
        HEALTHY | {"installed": ScenarioVerdict(RED, "gone")},
    ]
    assert [(each.fault.id, each.held) for each in it.results()] == [("F98", True), ("F99", True)]
    scripts = [argv[2].rsplit("\n", 1)[-1] for argv in it.node.ran]
    assert scripts == ["break one", "back one", "break two", "back two"]


def test_on_target_after_an_error_rolls_back_and_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [HEALTHY, FactError("the gate said nothing"), HEALTHY]
    first, second = it.results()
    assert (first.unasked, first.held) == ("the gate said nothing", False)
    assert {each.scenario for each in second.problems} == {"installed"}
    assert sum("back" in argv[2].rsplit("\n", 1)[-1] for argv in it.node.ran) == 2


def test_on_target_of_an_already_red_scenario_breaks_none(monkeypatch: pytest.MonkeyPatch) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [
        HEALTHY | {"driver": ScenarioVerdict(RED, "down")},
        HEALTHY | {"installed": ScenarioVerdict(RED, "gone")},
    ]
    first, second = it.results()
    assert scenarios()["driver"].title in first.unasked
    assert second.held
    assert not any("one" in argv[2].rsplit("\n", 1)[-1] for argv in it.node.ran)


def test_on_target_ends_after_a_fault_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [HEALTHY, HEALTHY | {"driver": ScenarioVerdict(RED, "down")}]
    it.looks = [{"a": "1"}, {"a": "2"}]
    (only,) = it.results()
    (problem,) = only.problems
    assert (problem.scenario, "a: 1 -> 2" in problem.what) == ("", True)


def test_table_of_a_container_is_read_back_as_its_target(tmp_path: Path) -> None:
    asked = Target("pve1", 951, user="admin", sudo=True, jump="bastion", template="a b")
    file = tmp_path / "targets.toml"
    file.write_text(target_file.written("faults", asked))
    assert target_file.find("faults", file) == asked
