"""Comparing what came with what must, and what is run where."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from faults import run, wait
from faults.catalogue import FAULTS
from faults.fault import Fault
from faults.run import COMPLIANT, RED, UNDETERMINED, Found, Problem, compare
from faults.scenarios import DRIVER, HELLO, INSTALLED, MOUNT, SETTINGS
from targets.errors import (
    CommandFailed,
    FactError,
    TransportError,
)
from targets.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[3]
FAULT = Fault(
    "F99",
    "daemon.json is not JSON",
    "true",
    red=(INSTALLED, MOUNT),
    beside=("no mount in {ctid}",),
    undetermined=(SETTINGS,),
    words=("of {ctid}: line 3", "column 7"),
    because=("is not JSON",),
    also=(HELLO,),
)
AS_EXPECTED = {
    INSTALLED: Found(RED, "daemon.json of 950: line 3\ncolumn 7"),
    MOUNT: Found(RED, "there is no mount in 950\nat all"),
    SETTINGS: Found(UNDETERMINED, "it is not JSON"),
    DRIVER: Found(COMPLIANT),
}


def wrong(ctid: int = 950, **changed: Found) -> list[str]:
    """Return the scenarios at which something is wrong."""
    names = {"installed": INSTALLED, "settings": SETTINGS, "driver": DRIVER, "hello": HELLO}
    names |= {"mount": MOUNT}
    found = AS_EXPECTED | {names[key]: each for key, each in changed.items()}
    return [problem.title for problem in compare(FAULT, found, ctid)]


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({}, []),
        # the verdict is another one
        ({"installed": Found(COMPLIANT, AS_EXPECTED[INSTALLED].cause)}, [INSTALLED]),
        ({"driver": Found(RED, "Docker is down\nand more")}, [DRIVER]),
        ({"settings": Found(RED, "it is not JSON")}, [SETTINGS]),
        # of what may turn red, too, neither is
        ({"hello": Found(RED, "down")}, []),
        ({"hello": Found(COMPLIANT)}, []),
        # a word is missing: anywhere, or in the first line
        ({"installed": Found(RED, "daemon.json of 950: line 3")}, [INSTALLED]),
        ({"installed": Found(RED, "exit 125\ndaemon.json of 950: line 3 column 7")}, [INSTALLED]),
        ({"mount": Found(RED, "exit 125\nthere is no mount in 950")}, [MOUNT]),
        ({"settings": Found(UNDETERMINED, "JSONDecodeError")}, [SETTINGS]),
    ],
)
def test_compare_finds_what_is_not_as_the_fault_says(
    changed: dict[str, Found], at: list[str]
) -> None:
    assert wrong(**changed) == at


def test_compare_takes_the_words_of_the_container_that_was_asked() -> None:
    assert wrong(951) == [INSTALLED, MOUNT]


def test_compare_passes_over_what_was_red_without_the_fault() -> None:
    found = AS_EXPECTED | {DRIVER: Found(RED, "another one")}
    assert compare(FAULT, found, before={DRIVER: Found(RED)}) == ()
    for before in ({}, {DRIVER: Found(UNDETERMINED)}, {DRIVER: Found(COMPLIANT)}):
        assert [each.title for each in compare(FAULT, found, before=before)] == [DRIVER]


def test_compare_misses_named_scenarios_that_were_not_asked() -> None:
    found = compare(FAULT, {INSTALLED: AS_EXPECTED[INSTALLED]})
    assert [each.title for each in found] == [MOUNT, SETTINGS]


def test_problem_is_told_with_its_scenario_if_it_has_one() -> None:
    assert str(Problem(DRIVER, "is red")) == f"{DRIVER!r} is red"
    assert str(Problem("", "it stays")) == "it stays"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_compare_with_each_word_of_a_fault_finds_nothing_and_without_it_each(fault: Fault) -> None:
    words = {title: list[str]() for title in fault.named}
    words[fault.named[0]] += fault.words
    for title, word in zip(fault.red[1:], fault.beside, strict=True):
        words[title].append(word)
    for title in fault.undetermined:
        words[title] += fault.because
    found = {title: Found(COMPLIANT) for title in fault.asked()}
    for title, verdict in run.expected(fault).items():
        found[title] = Found(verdict, "; ".join(words[title]).replace("{ctid}", "950"))
    assert compare(fault, found) == ()
    for title in fault.named:
        other = found | {title: Found(found[title].verdict, "something else")}
        assert [each.title for each in compare(fault, other)] == [title] * len(words[title]) != []


class Node(Base):
    """Remembers what was run, and fails it if told to."""

    machine = "the node"

    def __init__(self, code: int = 0) -> None:
        self.code, self.ran = code, list[list[str]]()

    @property
    def node(self) -> Node:
        return self

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.ran.append(list(argv))
        return CommandResult(tuple(argv), self.code, b"", b"no", self.machine, 0.0, 0.0)


def test_inject_of_shell_runs_it_behind_the_prelude() -> None:
    node = Node()
    run.inject(FAULT, node, 951)
    ((bash, option, script, _, ctid),) = node.ran
    assert (bash, option, ctid) == ("bash", "-c", "951")
    assert "inside()" in script
    assert script.endswith("true")


def test_inject_that_fails_names_the_fault() -> None:
    with pytest.raises(CommandFailed) as failed:
        run.inject(FAULT, Node(code=1))
    assert FAULT.id in str(failed.value)


def test_inject_of_a_function_gives_it_the_node() -> None:
    given: list[Any] = []
    node = Node()
    run.inject(Fault("F99", "x", given.append, red=(HELLO,), words=("x",)), node)
    assert given == [node]


class Said:
    """A gate that has nothing to ask: of each scenario that ``answer`` knows it says ``status``."""

    started: ClassVar[list[tuple[str, ...]]]
    ended: ClassVar[list[tuple[str, ...]]]
    folders: ClassVar[set[Path]]
    answer: ClassVar[Callable[[tuple[str, ...]], tuple[str, ...]]]
    status: ClassVar[str]
    code: ClassVar[int]

    def __init__(self, *arguments: str, results: Path) -> None:
        assert results not in self.folders, "each has a folder of its own"
        self.folders.add(results)
        titles = {each.nodeid: title for title, each in run.scenarios().items()}
        self.lane = tuple(titles[each] for each in arguments if each in titles)
        self.started.append(self.lane)

    def ask(self) -> Any:
        said = {"status": self.status, "message": ""}
        told = dict.fromkeys(type(self).answer(self.lane), said)
        return subprocess.CompletedProcess([], self.code if told else 2, "usage", ""), told

    def end(self) -> None:
        self.ended.append(self.lane)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> type[Said]:
    Said.started, Said.ended, Said.folders, Said.answer = [], [], set(), lambda lane: lane
    Said.status, Said.code = "passed", 0
    monkeypatch.setattr(run, "Gate", Said)
    return Said


def test_ask_where_a_scenario_has_no_answer_is_no_verdict(said: type[Said]) -> None:
    said.answer = lambda lane: tuple(each for each in lane if each == HELLO)
    assert run.ask([HELLO]) == {HELLO: Found(COMPLIANT)}
    with pytest.raises(FactError) as silent:
        run.ask([HELLO, DRIVER])
    assert DRIVER in str(silent.value)


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
        run.ask([HELLO])


def test_questions_start_one_gate_and_ask_nothing_before_somebody_says_so(
    said: type[Said],
) -> None:
    asked = list[tuple[str, ...]]()

    def answer(titles: tuple[str, ...]) -> tuple[str, ...]:
        asked.append(titles)
        return titles

    said.answer = answer
    titles = (DRIVER, INSTALLED, SETTINGS, HELLO)
    with run.Questions(titles) as questions:
        assert said.started == [titles]
        assert not asked
        assert questions.ask().keys() == set(titles)
    assert asked == said.ended == [titles]


def test_questions_about_no_scenario_start_no_gate(said: type[Said]) -> None:
    assert run.ask([]) == {}
    assert said.started == []


@pytest.mark.parametrize("asks", [False, True])
def test_questions_that_fail_leave_no_gate_running(said: type[Said], asks: bool) -> None:
    def answer(_: tuple[str, ...]) -> tuple[str, ...]:
        raise TransportError("it did not end")

    def fail(questions: run.Questions) -> None:
        with questions:
            if asks:
                questions.ask()
            raise TransportError("the lab cannot be restored")

    said.answer = answer
    with pytest.raises(TransportError):
        fail(run.Questions((DRIVER, INSTALLED, HELLO)))
    assert said.ended == said.started == [(DRIVER, INSTALLED, HELLO)]


WAITS = """
import faults.wait
print("it is there", flush=True)
faults.wait.pytest_collection_modifyitems()
print("it goes on")
"""


def test_wait_ends_at_a_line() -> None:
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", WAITS]
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "it is there\n"
        assert select.select([waiting.stdout], [], [], 0.5)[0] == [], "it did not wait"
        assert waiting.communicate("ask\n", timeout=60)[0] == "it goes on\n"


def test_wait_comes_before_anybody_looks_at_the_target() -> None:
    ours = (ROOT / "conftest.py").read_text()
    hook = "def pytest_collection_modifyitems"
    assert ours.partition(hook)[0].endswith("@pytest.hookimpl(trylast=True)\n")
    assert wait.pytest_collection_modifyitems.pytest_impl["tryfirst"]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Those that were started."""
    started: list[subprocess.Popen[str]] = []

    class Noted(subprocess.Popen[str]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return started


def test_gate_that_is_ended_is_killed(
    tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    run.Gate(run.scenarios()[HELLO].nodeid, "--target", "lab/950", results=tmp_path).end()
    assert [each.returncode for each in processes] == [-signal.SIGKILL]


def test_gate_whose_asker_is_gone_ends_by_itself(
    tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    nodeid = run.scenarios()[HELLO].nodeid
    gate = run.Gate(nodeid, "--target", "lab/950", "--allow-mutation", results=tmp_path)
    (waiting,) = processes
    waiting.communicate(timeout=60)  # closes its standard input
    assert waiting.returncode == 6
    assert not list(tmp_path.glob("*-result.json"))
    gate.end()


def test_options_of_a_fault_that_only_looks_allow_no_mutation() -> None:
    (look,) = (fault for fault in FAULTS if fault.id == "F71-absent")
    assert "--allow-mutation" not in run.options(look, "lab/950")
    assert "--allow-mutation" in run.options(FAULT, "lab/950")


def test_gate_of_a_node_id_collects_that_scenario_alone() -> None:
    done, told = run.gate(
        run.scenarios()[HELLO].nodeid,
        *("--collect-only", "-q", "--target", "lab/950", "--allow-mutation"),
        results=Path("/nonexistent"),
    )
    assert told == {}
    assert f"{run.scenarios()[HELLO].nodeid}[lab/950]" in done.stdout.split()
