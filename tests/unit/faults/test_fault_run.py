"""Comparing what came with what must, and what is run where."""

from __future__ import annotations

import signal
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from faults import run
from faults.fault import COMPLIANT, RED, UNDETERMINED, Fault, red, undetermined
from faults.run import Found, compare
from faults.scenarios import scenarios
from targets.errors import CommandFailed, FactError, TransportError
from tests.doubles.answering import Answering

ROOT = Path(__file__).parents[3]
HELLO = scenarios()["hello"].nodeid
FAULT = Fault(
    "F99",
    "daemon.json is not JSON",
    "true",
    expect=red("installed", "of {ctid}: line 3", "column 7")
    | red("mount", "no mount in {ctid}")
    | undetermined("settings", "is not JSON"),
    also=("hello",),
)
AS_EXPECTED = {
    "installed": Found(RED, "daemon.json of 950: line 3\ncolumn 7"),
    "mount": Found(RED, "there is no mount in 950\nat all"),
    "settings": Found(UNDETERMINED, "cannot tell:\nit is not JSON"),
    "driver": Found(COMPLIANT),
}


def wrong(fault: Fault, found: dict[str, Found], ctid: int = 950) -> list[str]:
    """Return the scenarios whose result is not as the fault says."""
    return [problem.scenario for problem in compare(fault, found, ctid)]


@pytest.mark.parametrize(
    ("name", "found", "fine"),
    [
        # the verdict is another one
        ("installed", Found(COMPLIANT, AS_EXPECTED["installed"].cause), False),
        ("driver", Found(RED, "Docker is down\nand more"), False),
        ("settings", Found(RED, "it is not JSON"), False),
        # a scenario that may fail, too
        ("hello", Found(RED, "down"), True),
        ("hello", Found(COMPLIANT), True),
        # a word is missing: anywhere, or in the first line
        ("installed", Found(RED, "daemon.json of 950: line 3"), False),
        ("installed", Found(RED, "exit 125\ndaemon.json of 950: line 3 column 7"), False),
        ("mount", Found(RED, "exit 125\nthere is no mount in 950"), False),
        ("settings", Found(UNDETERMINED, "JSONDecodeError"), False),
    ],
)
def test_compare_finds_what_is_not_as_the_fault_says(name: str, found: Found, fine: bool) -> None:
    assert wrong(FAULT, AS_EXPECTED) == []
    assert wrong(FAULT, AS_EXPECTED | {name: found}) == ([] if fine else [name])


def test_compare_with_an_undetermined_cause_wants_its_first_word_in_the_first_line() -> None:
    fault = Fault("F99", "x", "", expect=undetermined("settings", "is not JSON"))
    assert wrong(fault, {"settings": AS_EXPECTED["settings"]}) == ["settings"]
    assert wrong(fault, {"settings": Found(UNDETERMINED, "it is not JSON")}) == []


def test_compare_takes_the_words_of_the_container_that_was_asked() -> None:
    assert wrong(FAULT, AS_EXPECTED, 951) == ["installed", "mount"]


def test_compare_passes_over_what_was_red_without_the_fault() -> None:
    found = AS_EXPECTED | {"driver": Found(RED, "another one")}
    assert compare(FAULT, found, before={"driver": Found(RED)}) == ()
    for before in ({}, {"driver": Found(UNDETERMINED)}, {"driver": Found(COMPLIANT)}):
        assert [each.scenario for each in compare(FAULT, found, before=before)] == ["driver"]


def test_compare_misses_named_scenarios_that_were_not_asked() -> None:
    assert wrong(FAULT, {"installed": AS_EXPECTED["installed"]}) == ["mount", "settings"]


def test_inject_that_fails_names_the_fault() -> None:
    with pytest.raises(CommandFailed) as failed:
        run.inject(FAULT, Answering(lambda _: (1, b"", b"no")))
    assert FAULT.id in str(failed.value)


ASKED = ("driver", "installed", "hello")


class Said:
    """A gate that knows the scenarios in ``ASKED``; notes what is started and ended."""

    started: ClassVar[list[tuple[str, ...]]]
    ended: ClassVar[list[tuple[str, ...]]]
    status: ClassVar[str]
    code: ClassVar[int]

    def __init__(self, *arguments: str, results: Path) -> None:
        names = {scenario.nodeid: name for name, scenario in scenarios().items()}
        self.asked = tuple(names[each] for each in arguments)
        self.started.append(self.asked)

    def ask(self) -> Any:
        titles = [scenarios()[name].title for name in self.asked if name in ASKED]
        told = {title: {"status": self.status, "message": ""} for title in titles}
        return subprocess.CompletedProcess([], self.code, "usage", ""), told

    def end(self) -> None:
        self.ended.append(self.asked)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> type[Said]:
    Said.started, Said.ended, Said.status, Said.code = [], [], "passed", 0
    monkeypatch.setattr(run, "Gate", Said)
    return Said


def test_ask_where_a_scenario_has_no_answer_is_no_verdict(said: type[Said]) -> None:
    assert run.ask(["hello"]) == {"hello": Found(COMPLIANT)}
    with pytest.raises(FactError) as silent:
        run.ask(["hello", "settings"])
    assert scenarios()["settings"].title in str(silent.value)


@pytest.mark.parametrize(
    ("code", "status", "honest"),
    [
        *((0, "passed", True), (0, "failed", False), (0, "broken", False), (0, "skipped", False)),
        *((1, "failed", True), (1, "broken", False), (1, "passed", False), (3, "failed", False)),
        *((3, "broken", True), (3, "passed", False), (5, "failed", True), (5, "broken", True)),
        *((-9, "broken", False), (4, "broken", False), (2, "broken", True), (6, "passed", False)),
    ],
)
def test_ask_with_an_exit_code_that_is_not_the_verdicts_is_refused(
    said: type[Said], code: int, status: str, honest: bool
) -> None:
    said.code, said.status = code, status
    with nullcontext() if honest else pytest.raises(FactError):
        run.ask(["hello"])


def test_waiting_gate_is_one_that_starts_before_it_is_asked_and_ends(said: type[Said]) -> None:
    with run.waiting_gate(ASKED) as ask:
        assert (said.started, said.ended) == ([ASKED], [])
        assert tuple(ask()) == ASKED
    assert said.ended == [ASKED]


def test_waiting_gate_ends_after_an_error(said: type[Said]) -> None:
    with pytest.raises(TransportError), run.waiting_gate(ASKED):
        raise TransportError("the lab cannot be restored")
    assert said.ended == said.started == [ASKED]


def test_gate_that_is_ended_is_killed(tmp_path: Path) -> None:
    gate = run.Gate(HELLO, "--target", "lab/950", results=tmp_path)
    gate.end()
    assert gate._process.returncode == -signal.SIGKILL


def test_gate_whose_asker_is_gone_ends_by_itself(tmp_path: Path) -> None:
    gate = run.Gate(HELLO, "--target", "lab/950", "--allow-mutation", results=tmp_path)
    gate._process.communicate(timeout=60)  # closes its standard input
    assert gate._process.returncode == 6
    assert not list(tmp_path.glob("*-result.json"))
    gate.end()


def test_options_of_a_fault_that_only_looks_allow_no_mutation() -> None:
    look = replace(FAULT, look=True)
    assert "--allow-mutation" not in run.options(look, "lab/950")
    assert "--allow-mutation" in run.options(FAULT, "lab/950")
