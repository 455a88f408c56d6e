"""Faults on a user's target: each is rolled back, and one that stays ends it."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.verdict.record import Outcome, Verdict
from proof.faults import target
from proof.faults.fault import COMPLIANT, RED, Fault
from proof.faults.scenarios import scenarios
from tests.doubles.answering import Answering

ONE = Fault("F98", "one", "break one", red={"driver": ("down",)}, rollback="back one")
TWO = Fault("F99", "two", "break two", red={"installed": ("gone",)}, rollback="back two")


def outcome(verdict: str, cause: str = "") -> Outcome:
    return Outcome("", "", verdict=Verdict(verdict), cause=cause)


HEALTHY = dict.fromkeys(["driver", "installed"], outcome(COMPLIANT))
RED_ONE = HEALTHY | {"driver": outcome(RED, "down")}
RED_TWO = HEALTHY | {"installed": outcome(RED, "gone")}


def test_container_on_plain_lxc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Answering(lambda _: b"")
    monkeypatch.setattr(target.connect, "opened", lambda *_, **__: nullcontext(Lxc(node)))
    asked = Target("pve1", 950, reserved=(951,))
    with pytest.raises(UsageError), target.container(asked, ["driver"], lambda _: None):
        pass
    assert node.ran == []


class Node:
    """A node whose answers are given, and whose scripts are noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node, self.looks = Answering(lambda _: b""), list[dict[str, str]]()
        self.answers: list[dict[str, Outcome] | FactError] = []
        monkeypatch.setattr(
            target.Container, "_look", lambda _: self.looks.pop(0) if self.looks else {"a": "1"}
        )
        monkeypatch.setattr(target, "wait_until_booted", lambda _: None)
        monkeypatch.setattr(target.run, "ask", lambda *_: self.answer())

    def inside(self, _: int) -> None:
        return None

    def answer(self) -> dict[str, Outcome]:
        answer = self.answers.pop(0)
        if isinstance(answer, FactError):
            raise answer
        return answer

    @property
    def scripts(self) -> list[str]:
        lines = (argv[2].removesuffix("\nchanged").splitlines()[-1] for argv in self.node.ran)
        return [line for line in lines if line.startswith(("break", "back"))]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


@pytest.fixture
def container(node: Node) -> Callable[..., target.Container]:
    return lambda control=HEALTHY: target.Container(node, 951, (), control)  # type: ignore[arg-type]


def test_broken_rolls_each_fault_back(
    node: Node, container: Callable[..., target.Container]
) -> None:
    own, node.answers = container(), [RED_ONE, RED_TWO]
    assert (own.broken(ONE), own.broken(TWO)) == ([], [])
    assert node.scripts == ["break one", "back one", "break two", "back two"]


def test_broken_after_an_error_rolls_back_and_goes_on(
    node: Node, container: Callable[..., target.Container]
) -> None:
    own, node.answers = container(), [FactError("the gate said nothing"), HEALTHY]
    with pytest.raises(FactError, match="said nothing"):
        own.broken(ONE)
    problems = own.broken(TWO)
    assert all(scenarios()["installed"].title in each for each in problems)
    assert node.scripts == ["break one", "back one", "break two", "back two"]


@pytest.mark.parametrize("control", [RED_ONE, {}])
def test_broken_of_a_scenario_that_is_red_without_it_breaks_nothing(
    node: Node, container: Callable[..., target.Container], control: dict[str, Outcome]
) -> None:
    with pytest.raises(FactError) as refused:
        container(control).broken(ONE)
    assert scenarios()["driver"].title in str(refused.value)
    assert node.node.ran == []


def test_broken_after_a_fault_that_stays_breaks_nothing(
    node: Node, container: Callable[..., target.Container]
) -> None:
    own, node.answers, node.looks = container(), [RED_ONE], [{"a": "1"}, {"a": "2"}]
    (problem,) = own.broken(ONE)
    assert "a: 1 -> 2" in problem
    with pytest.raises(FactError, match="F98"):
        own.broken(TWO)
    assert node.scripts == ["break one", "back one"]


def test_table_of_a_container_is_read_back_as_its_target(tmp_path: Path) -> None:
    asked = Target("pve1", 951, user="admin", sudo=True, jump="bastion", template="a b")
    file = tmp_path / "targets.toml"
    file.write_text(target_file.written("faults", asked))
    assert target_file.find("faults", file) == asked
