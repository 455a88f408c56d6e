"""Comparing what came with what must, and what is run where."""

import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from msgspec.structs import replace

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.result import CommandFailed
from proof.faults import run
from proof.faults.fault import COMPLIANT, RED, UNDETERMINED, Fault
from proof.faults.run import ScenarioVerdict, compare
from proof.faults.scenarios import scenarios
from tests.doubles.answering import Answering

FAULT = Fault(
    "F99",
    "daemon.json is not JSON",
    "true",
    red={"installed": ("of {ctid}: line 3", "column 7"), "mount": ("no mount in {ctid}",)},
    undetermined={"settings": ("is not JSON",)},
    also=("hello",),
)
AS_EXPECTED = {
    "installed": ScenarioVerdict(RED, "daemon.json of 950: line 3\ncolumn 7"),
    "mount": ScenarioVerdict(RED, "there is no mount in 950\nat all"),
    "settings": ScenarioVerdict(UNDETERMINED, "cannot tell:\nit is not JSON"),
    "driver": ScenarioVerdict(COMPLIANT),
}


def wrong(fault: Fault, found: dict[str, ScenarioVerdict], ctid: int = 950) -> list[str]:
    """Return the scenarios whose result is not as the fault says."""
    return [problem.scenario for problem in compare(fault, found, ctid)]


@pytest.mark.parametrize(
    ("name", "found", "fine"),
    [
        # the verdict is another one
        ("installed", ScenarioVerdict(COMPLIANT, AS_EXPECTED["installed"].cause), False),
        ("driver", ScenarioVerdict(RED, "Docker is down\nand more"), False),
        ("settings", ScenarioVerdict(RED, "it is not JSON"), False),
        # a scenario that may fail, too
        ("hello", ScenarioVerdict(RED, "down"), True),
        ("hello", ScenarioVerdict(COMPLIANT), True),
        # a word is missing: anywhere, or in the first line
        ("installed", ScenarioVerdict(RED, "daemon.json of 950: line 3"), False),
        ("installed", ScenarioVerdict(RED, "exit 125\ndaemon.json of 950: line 3 column 7"), False),
        ("mount", ScenarioVerdict(RED, "exit 125\nthere is no mount in 950"), False),
        ("settings", ScenarioVerdict(UNDETERMINED, "JSONDecodeError"), False),
    ],
)
def test_compare_finds_what_is_not_as_the_fault_says(
    name: str, found: ScenarioVerdict, fine: bool
) -> None:
    assert wrong(FAULT, AS_EXPECTED) == []
    assert wrong(FAULT, AS_EXPECTED | {name: found}) == ([] if fine else [name])


def test_compare_with_an_undetermined_cause_wants_its_first_word_in_the_first_line() -> None:
    fault = Fault("F99", "x", undetermined={"settings": ("is not JSON",)})
    assert wrong(fault, {"settings": AS_EXPECTED["settings"]}) == ["settings"]
    assert wrong(fault, {"settings": ScenarioVerdict(UNDETERMINED, "it is not JSON")}) == []


def test_compare_takes_the_words_of_the_container_that_was_asked() -> None:
    assert wrong(FAULT, AS_EXPECTED, 951) == ["installed", "mount"]


def test_compare_passes_over_what_was_red_without_the_fault() -> None:
    found = AS_EXPECTED | {"driver": ScenarioVerdict(RED, "another one")}
    assert compare(FAULT, found, before={"driver": ScenarioVerdict(RED)}) == ()
    for before in (
        {},
        {"driver": ScenarioVerdict(UNDETERMINED)},
        {"driver": ScenarioVerdict(COMPLIANT)},
    ):
        assert [each.scenario for each in compare(FAULT, found, before=before)] == ["driver"]


def test_compare_misses_named_scenarios_that_were_not_asked() -> None:
    assert wrong(FAULT, {"installed": AS_EXPECTED["installed"]}) == ["mount", "settings"]


def test_inject_that_fails_names_the_fault() -> None:
    with pytest.raises(CommandFailed) as failed:
        run.inject(FAULT, Answering(lambda _: (1, b"", b"no")))
    assert FAULT.id in str(failed.value)


@pytest.fixture(scope="module")
def gate() -> Iterator[run.GateProcess]:
    """A gate of a target whose port nobody listens on, until a test does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with run.GateProcess("--target", f"root@127.0.0.1:{port}/950", "--allow-mutation") as gate:
        yield gate


def test_gate_that_is_asked_twice_connects_twice_in_one_process(gate: run.GateProcess) -> None:
    first, process = gate.ask(["driver"]), gate._process
    port = int(gate._options[1].rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)) as server:
        closing = threading.Thread(target=lambda: [c.close() for c in server.accept()[:1]])
        closing.start()
        second = gate.ask(["driver"])
        closing.join()
    assert gate._process is process
    assert first["driver"].verdict == second["driver"].verdict == UNDETERMINED
    assert first["driver"].cause != second["driver"].cause


def test_gate_that_died_is_no_verdict_and_starts_again(gate: run.GateProcess) -> None:
    gate.ask(["driver"])
    assert gate._process
    gate._process.kill()
    with pytest.raises(FactError):
        gate.ask(["driver"])
    assert gate._process is None
    assert gate.ask(["driver"])["driver"].verdict == UNDETERMINED


def test_gate_whose_asker_is_gone_ends_by_itself() -> None:
    with run.GateProcess("--target", "lab/950") as gate:
        gate._channel.shutdown(socket.SHUT_WR)
        assert gate._process
        assert gate._process.wait(timeout=60) != 0


def verdicts(names: list[str], code: int, status: str) -> dict[str, ScenarioVerdict]:
    told = {scenarios()["hello"].title: {"status": status, "message": ""}}
    return run._verdicts(names, code, told, "usage")


def test_verdicts_without_an_answer_for_a_scenario_are_none() -> None:
    assert verdicts(["hello"], 0, "passed") == {"hello": ScenarioVerdict(COMPLIANT)}
    with pytest.raises(FactError) as silent:
        verdicts(["hello", "settings"], 0, "passed")
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
def test_verdicts_with_another_exit_code_are_refused(code: int, status: str, honest: bool) -> None:
    with nullcontext() if honest else pytest.raises(FactError):
        verdicts(["hello"], code, status)


def test_options_of_a_fault_that_only_looks_allow_no_mutation() -> None:
    look = replace(FAULT, look=True)
    assert "--allow-mutation" not in run.options(look, "lab/950")
    assert "--allow-mutation" in run.options(FAULT, "lab/950")
