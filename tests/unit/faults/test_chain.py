"""Faults in a chain: when one is rolled back, and when the lab is restored instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Self

import pytest
from msgspec.structs import replace

from docker_lxc_gate.errors import FactError, RemediationError
from proof.faults import chain, run
from proof.faults.catalogue import FAULTS
from proof.faults.chain import Chain, ordered
from proof.faults.fault import APPLIED, COMPLIANT, RED, Fault
from proof.faults.run import ScenarioVerdict
from tests.doubles.answering import Answering

ONE = Fault("F98", "one", "break one", red={"driver": ("down",)}, rollback="back one")
TWO = Fault("F99", "two", "break two", red={"installed": ("gone",)}, rollback="back two")
RED_ONE, RED_TWO = (
    {"driver": ScenarioVerdict(RED, "down")},
    {"installed": ScenarioVerdict(RED, "gone")},
)
FINE = ScenarioVerdict(COMPLIANT)


class Bench:
    """A lab and a gate that do nothing: notes what is done, and answers what is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.answers: list[dict[str, ScenarioVerdict] | RemediationError] = []
        self.refused: set[str] = set()
        self.node = Answering(self._shell)
        monkeypatch.setattr(chain.states, "restored", self._restored)
        monkeypatch.setattr(chain, "GateProcess", lambda *_: self)
        self.lab: Any = SimpleNamespace(state=SimpleNamespace(templates=["trixie"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append("end")

    def _shell(self, argv: tuple[str, ...]) -> tuple[int, bytes, bytes]:
        script = argv[2].rsplit("\n", 1)[-1]
        self.done.append(script)
        return (1 if script in self.refused else 0), b"", b"no"

    @contextmanager
    def _restored(self, _: object, name: str) -> Iterator[Answering]:
        self.done.append(f"restore {name}")
        yield self.node

    def ask(self, names: tuple[str, ...]) -> dict[str, ScenarioVerdict]:
        answer = self.answers.pop(0)
        if isinstance(answer, RemediationError):
            raise answer
        return dict.fromkeys(names, FINE) | answer

    def run(self, *faults: Fault) -> list[run.Result]:
        with Chain(self.lab) as faulty:
            return [faulty.run(fault) for fault in faults]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_chain_of_faults_that_are_rolled_back_restores_once(bench: Bench) -> None:
    bench.answers = [RED_ONE, {}, RED_TWO, {}]
    assert [(each.held, each.restored) for each in bench.run(ONE, TWO)] == [(True, "")] * 2
    wanted = ["restore healthy", "break one", "back one", "break two", "back two", "end"]
    assert bench.done == wanted


def test_chain_restores_after_a_fault_without_rollback_and_for_another_state(bench: Bench) -> None:
    bench.answers = [RED_ONE, RED_TWO, {}, RED_TWO]
    elsewhere = replace(TWO, start=APPLIED, rollback="")
    assert all(each.held for each in bench.run(replace(ONE, rollback=""), TWO, elsewhere))
    restores = [each for each in bench.done if "restore" in each]
    assert restores == ["restore healthy", "restore healthy", "restore applied"]


def test_chain_restores_where_a_rollback_or_a_question_changes_something(bench: Bench) -> None:
    bench.answers = [RED_ONE, {"again": ScenarioVerdict(RED, "down")}, RED_TWO, {}]
    changing = replace(ONE, red={"again": ("down",)})
    assert all(each.held for each in bench.run(replace(ONE, rollback="restart"), changing, TWO))
    assert bench.done.count("restore healthy") == 3


@pytest.mark.parametrize("why", ["red", "refused", "no verdict"])
def test_chain_after_a_rollback_that_failed_restores_and_says_so(bench: Bench, why: str) -> None:
    bench.answers = [RED_ONE, RED_TWO, {}]
    if why == "refused":
        bench.refused = {"back one"}
    else:
        bench.answers.insert(1, RED_ONE if why == "red" else FactError("no verdict"))
    first, second = bench.run(ONE, TWO)
    assert first.held
    assert first.restored
    assert (second.held, second.restored) == (True, "")
    assert bench.done.count("restore healthy") == 2


def test_chain_judges_no_fault_by_what_the_one_before_left(bench: Bench) -> None:
    bench.answers = [RED_ONE, {}, RED_TWO | RED_ONE, RED_TWO, {}]
    _, second = bench.run(ONE, TWO)
    assert second.held
    assert "not compliant" in second.restored
    assert bench.done[-4:-1] == ["restore healthy", "break two", "back two"]


def test_chain_with_an_unexpected_result_from_the_snapshot_keeps_it(bench: Bench) -> None:
    bench.answers = [RED_TWO, RED_TWO, {}]
    first, second = bench.run(ONE, TWO)
    assert {each.scenario for each in first.problems} == {"driver", "installed"}
    assert second.held
    assert "back one" not in bench.done


def test_chain_goes_on_after_a_fault_that_cannot_be_run(bench: Bench) -> None:
    bench.answers = [FactError("the node is gone"), RED_TWO, {}]
    first, second = bench.run(ONE, TWO)
    assert (first.unasked, second.held) == ("the node is gone", True)
    assert "no template" in bench.run(replace(ONE, release="testing"))[0].unasked


def test_ordered_faults_are_the_same_with_those_that_are_rolled_back_first() -> None:
    faults = ordered(FAULTS)
    assert sorted(each.id for each in faults) == sorted(each.id for each in FAULTS)
    rolled_back = [chain.is_cheap(each, each.kills) for each in faults]
    assert rolled_back == sorted(rolled_back, reverse=True)
