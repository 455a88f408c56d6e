"""Comparing what came with what must, and what is run where."""

from __future__ import annotations

import select
import signal
import sys
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from faults import real, run, wait
from faults.catalogue import FAULTS
from faults.fault import Fault
from faults.run import COMPLIANT, RED, UNDETERMINED, Found, compare
from faults.scenarios import DRIVER, HELLO, INSTALLED, MOUNT, SETTINGS
from targets import target_file
from targets.errors import (
    CommandFailed,
    FactError,
    RemediationError,
    TransportError,
    UsageError,
)
from targets.target import Target
from targets.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

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


def problems(fault: Fault = FAULT, **changed: Found) -> tuple[str, ...]:
    names = {"installed": INSTALLED, "settings": SETTINGS, "driver": DRIVER, "hello": HELLO}
    names |= {"mount": MOUNT}
    found = AS_EXPECTED | {names[key]: each for key, each in changed.items()}
    return tuple(map(str, compare(fault, found)))


def test_what_was_expected_is_no_problem() -> None:
    assert problems() == ()


def test_a_scenario_that_stays_green_is_a_problem() -> None:
    (first, *_) = problems(installed=Found(COMPLIANT))
    assert first == f"{INSTALLED!r} is compliant, and should be not compliant"


def test_a_scenario_that_turns_red_beside_it_is_a_problem() -> None:
    (found,) = problems(driver=Found(RED, "Docker is down\nand more"))
    assert found == f"{DRIVER!r} is not compliant, and should be compliant: Docker is down"


def test_red_is_not_undetermined() -> None:
    (found,) = problems(settings=Found(RED, "it is not JSON"))
    assert "is not compliant, and should be undetermined" in found


def test_what_may_turn_red_too_is_none() -> None:
    assert problems(hello=Found(RED, "down")) == ()
    assert problems(hello=Found(COMPLIANT)) == ()


def test_what_was_red_without_the_fault_is_none() -> None:
    found = AS_EXPECTED | {DRIVER: Found(RED, "another one")}
    assert compare(FAULT, found, before={DRIVER: Found(RED)}) == ()
    for before in ({}, {DRIVER: Found(UNDETERMINED)}, {DRIVER: Found(COMPLIANT)}):
        assert [each.title for each in compare(FAULT, found, before=before)] == [DRIVER]


def test_a_word_that_is_missing_is_a_problem() -> None:
    (found,) = problems(installed=Found(RED, "daemon.json of 950: line 3"))
    assert found.startswith(f"{INSTALLED!r} does not say 'column 7', but: daemon.json of 950")


def test_the_first_word_must_be_in_the_first_line() -> None:
    (found,) = problems(installed=Found(RED, "exit 125\ndaemon.json of 950: line 3 column 7"))
    assert found.startswith(f"{INSTALLED!r} does not say 'of 950: line 3', but: exit 125")


def test_what_is_red_beside_it_must_say_its_own_cause_in_its_first_line() -> None:
    (found,) = problems(mount=Found(RED, "exit 125\nthere is no mount in 950"))
    assert found.startswith(f"{MOUNT!r} does not say 'no mount in 950', but: exit 125")


def test_a_word_is_of_the_container_that_was_asked() -> None:
    first, second = map(str, compare(FAULT, AS_EXPECTED, 951))
    assert first.startswith(f"{INSTALLED!r} does not say 'of 951: line 3'")
    assert second.startswith(f"{MOUNT!r} does not say 'no mount in 951'")


def test_what_is_undetermined_must_name_the_cause() -> None:
    (found,) = problems(settings=Found(UNDETERMINED, "JSONDecodeError"))
    assert found == f"{SETTINGS!r} does not say 'is not JSON', but: JSONDecodeError"


def test_a_named_scenario_that_was_not_asked_is_a_problem() -> None:
    found = compare(FAULT, {INSTALLED: AS_EXPECTED[INSTALLED]})
    assert [str(each) for each in found] == [
        f"{MOUNT!r} was not asked",
        f"{SETTINGS!r} was not asked",
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_each_fault_can_come_as_it_is_expected_and_no_word_of_it_is_idle(fault: Fault) -> None:
    words = run._words(fault, 950)
    told = {t: "; ".join(word for title, word, _ in words if title == t) for t in fault.named}
    found = {title: Found(COMPLIANT) for title in fault.asked()}
    found |= {t: Found(verdict, told[t]) for t, verdict in run.expected(fault).items()}
    assert compare(fault, found) == ()
    for title in fault.named:
        other = found | {title: Found(found[title].verdict, "something else")}
        due = [each for each, _, _ in words if each == title]
        assert [each.title for each in compare(fault, other)] == due != []


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


def test_shell_is_injected_with_what_it_may_use() -> None:
    node = Node()
    run.inject(FAULT, node, 951)
    ((bash, option, script, _, ctid),) = node.ran
    assert (bash, option, ctid) == ("bash", "-c", "951")
    assert "inside()" in script
    assert script.endswith("true")


def test_an_injection_that_fails_is_said() -> None:
    with pytest.raises(CommandFailed, match=r"fault F99: daemon\.json is not JSON"):
        run.inject(FAULT, Node(code=1))


def test_a_function_is_given_the_node() -> None:
    given: list[Any] = []
    node = Node()
    run.inject(Fault("F99", "x", given.append, red=(HELLO,), words=("x",)), node)
    assert given == [node]


class Said:
    """A gate that has nothing to ask; every scenario is compliant that ``answer`` knows."""

    started: ClassVar[list[tuple[str, ...]]]
    ended: ClassVar[list[tuple[str, ...]]]
    folders: ClassVar[set[Path]]
    answer: ClassVar[Callable[[tuple[str, ...]], tuple[str, ...]]]

    def __init__(self, *arguments: str, results: Path) -> None:
        assert results not in self.folders, "each has a folder of its own"
        self.folders.add(results)
        titles = {each.nodeid: title for title, each in run.scenarios().items()}
        self._lane = tuple(titles[each] for each in arguments if each in titles)
        self.started.append(self._lane)

    def ask(self) -> Any:
        passed = {"status": "passed", "message": ""}
        told = dict.fromkeys(type(self).answer(self._lane), passed)
        return run.subprocess.CompletedProcess([], 0 if told else 2, "usage", ""), told

    def end(self) -> None:
        self.ended.append(self._lane)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> type[Said]:
    Said.started, Said.ended, Said.folders, Said.answer = [], [], set(), lambda lane: lane
    monkeypatch.setattr(run, "Gate", Said)
    return Said


def test_a_gate_that_says_nothing_of_a_scenario_is_no_verdict(said: type[Said]) -> None:
    said.answer = lambda lane: tuple(each for each in lane if each == HELLO)
    assert run.ask([HELLO]) == {HELLO: Found(COMPLIANT)}
    with pytest.raises(FactError, match=r"ended with 2, 0 and said nothing of"):
        run.ask([HELLO, DRIVER])


@pytest.mark.parametrize(
    ("code", "status", "honest"),
    [
        *((0, "passed", True), (0, "failed", False), (0, "broken", False), (0, "skipped", False)),
        *((1, "failed", True), (1, "broken", False), (1, "passed", False), (3, "failed", False)),
        *((3, "broken", True), (3, "passed", False), (5, "failed", True), (5, "broken", True)),
        *((-9, "broken", False), (4, "broken", False), (2, "broken", True), (6, "passed", False)),
    ],
)
def test_the_exit_code_is_what_the_verdicts_come_to(code: int, status: str, honest: bool) -> None:
    with nullcontext() if honest else pytest.raises(FactError, match=f"ended with {code} over"):
        run._require_honest(code, ["passed", status])


def test_what_only_looks_is_asked_at_once_and_what_changes_something_after_it(
    said: type[Said],
) -> None:
    meet, asked = threading.Barrier(2, timeout=10), list[tuple[str, ...]]()

    def answer(lane: tuple[str, ...]) -> tuple[str, ...]:
        if HELLO not in lane:
            meet.wait()
        asked.append(lane)
        return lane

    said.answer = answer
    titles = (DRIVER, INSTALLED, SETTINGS, HELLO)
    with run.Questions(titles) as questions:
        # the longest by itself, so that both lanes come to their end at about the same time
        assert said.started == [(INSTALLED,), (DRIVER, SETTINGS), (HELLO,)]
        assert not asked, "nothing is asked before somebody says so"
        assert questions.ask().keys() == set(titles)
    assert sorted(asked[:2]) == sorted([(DRIVER, SETTINGS), (INSTALLED,)])
    assert asked[2:] == [(HELLO,)]
    assert run.ask([]) == {}


@pytest.mark.parametrize("asks", [False, True])
def test_whatever_fails_no_gate_is_left_running(said: type[Said], asks: bool) -> None:
    def answer(_: tuple[str, ...]) -> tuple[str, ...]:
        raise TransportError("it did not end")

    def fail(questions: run.Questions) -> None:
        with questions:
            if asks:
                questions.ask()
            raise TransportError("the lab cannot be restored")

    said.answer = answer
    with pytest.raises(TransportError, match="did not end" if asks else "cannot be restored"):
        fail(run.Questions((DRIVER, INSTALLED, HELLO)))
    assert sorted(said.ended) == sorted(said.started)
    assert len(said.ended) == 3


def test_a_gate_that_does_not_start_ends_those_that_did(
    said: type[Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*arguments: str, results: Path) -> Said:
        if said.started:
            raise OSError("no memory")
        return said(*arguments, results=results)

    monkeypatch.setattr(run, "Gate", start)
    with pytest.raises(OSError, match="no memory"), run.Questions((DRIVER, HELLO)):
        pytest.fail("it cannot be entered")
    assert said.ended == said.started == [(DRIVER,)]


WAITS = """
import faults.wait
print("it is there", flush=True)
faults.wait.pytest_collection_modifyitems()
print("it goes on")
"""


def test_it_waits_for_a_line() -> None:
    pipe = run.subprocess.PIPE
    argv = [sys.executable, "-c", WAITS]
    with run.subprocess.Popen(argv, cwd=run._ROOT, stdin=pipe, stdout=pipe, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "it is there\n"
        assert select.select([waiting.stdout], [], [], 0.5)[0] == [], "it did not wait"
        assert waiting.communicate("ask\n", timeout=60)[0] == "it goes on\n"


def test_it_waits_before_anybody_looks_at_the_target() -> None:
    ours = (run._ROOT / "conftest.py").read_text()
    hook = "def pytest_collection_modifyitems"
    assert ours.partition(hook)[0].endswith("@pytest.hookimpl(trylast=True)\n")
    assert wait.pytest_collection_modifyitems.pytest_impl["tryfirst"]


def test_a_gate_is_ended(tmp_path: Path) -> None:
    waiting = run.Gate(run.scenarios()[HELLO].nodeid, "--target", "lab/950", results=tmp_path)
    waiting.end()
    assert waiting._process.returncode == -signal.SIGKILL


def test_a_gate_whose_asker_is_gone_ends_by_itself(tmp_path: Path) -> None:
    nodeid = run.scenarios()[HELLO].nodeid
    arguments = (nodeid, "--target", "lab/950", "--allow-mutation")
    waiting = run.Gate(*arguments, results=tmp_path)
    said, _ = waiting._process.communicate(timeout=60)  # closes its standard input
    assert "no scenario was run" in said
    assert waiting._process.returncode == 6
    assert not list(tmp_path.glob("*-result.json"))


def test_one_that_only_looks_is_not_allowed_to_change() -> None:
    (look,) = (fault for fault in FAULTS if fault.id == "F71-absent")
    assert "--allow-mutation" not in run.options(look, "lab/950")
    assert "--allow-mutation" in run.options(FAULT, "lab/950")


def test_the_gate_is_asked_for_just_these_scenarios() -> None:
    done, told = run.gate(
        run.scenarios()[HELLO].nodeid,
        *("--collect-only", "-q", "--target", "lab/950", "--allow-mutation"),
        results=run.Path("/nonexistent"),
    )
    assert told == {}
    assert f"{run.scenarios()[HELLO].nodeid}[lab/950]" in done.stdout


SAFE = tuple(fault for fault in FAULTS if fault.safe)


def test_on_a_real_target_nothing_is_broken_without_leave() -> None:
    with pytest.raises(UsageError, match="--allow-mutation"):
        real.require_safe(SAFE, named=False, may_change=False)


def test_an_unsafe_fault_is_refused_where_it_was_named_and_left_out_where_not() -> None:
    with pytest.raises(UsageError, match=r"F10, .*: not on a real target"):
        real.require_safe(FAULTS[10:], named=True, may_change=True)
    assert real.require_safe(FAULTS, named=False, may_change=True) == SAFE
    assert real.require_safe(SAFE, named=True, may_change=True) == SAFE


class OnTarget:
    """Two safe faults on a target: what is asked, said and looked at is given, and noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node, self.looks = Node(), list[dict[str, str]]()
        self.answers: list[dict[str, Found] | RemediationError] = []
        own = Target("pve1", 951)
        monkeypatch.setattr(real.connect, "opened", lambda *_, **__: nullcontext(self))
        monkeypatch.setattr(real, "_container", lambda *_: nullcontext(own))
        monkeypatch.setattr(
            real, "_look", lambda *_: self.looks.pop(0) if self.looks else {"a": "1"}
        )
        monkeypatch.setattr(real, "wait_until_booted", lambda _: None)
        monkeypatch.setattr(real.run, "ask", lambda *_: self._answer())

    def inside(self, _: int) -> None:
        return None

    def _answer(self) -> dict[str, Found]:
        answer = self.answers.pop(0)
        if isinstance(answer, RemediationError):
            raise answer
        return answer

    def results(self) -> list[run.Result]:
        asked = Target("pve1", 950, reserved=(951,))
        return list(real.on_target(TWO, asked, lambda _: None))


TWO = (
    Fault("F98", "one", "break one", red=(DRIVER,), words=("down",), undo="mend one"),
    Fault("F99", "two", "break two", red=(INSTALLED,), words=("gone",), undo="mend two"),
)
HEALTHY = dict.fromkeys([DRIVER, INSTALLED], Found(COMPLIANT))


def test_on_a_target_each_fault_is_undone_and_that_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [
        HEALTHY,
        HEALTHY | {DRIVER: Found(RED, "down")},
        HEALTHY | {INSTALLED: Found(RED, "gone")},
    ]
    assert [(each.id, each.held) for each in it.results()] == [("F98", True), ("F99", True)]
    scripts = [argv[2].rsplit("\n", 1)[-1] for argv in it.node.ran]
    assert scripts == ["break one", "mend one", "break two", "mend two"]


def test_on_a_target_an_error_is_no_verdict_and_the_fault_is_undone_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [HEALTHY, FactError("the gate said nothing"), HEALTHY]
    first, second = it.results()
    assert (first.unasked, first.held) == ("the gate said nothing", False)
    assert [str(each) for each in second.problems][:1] == [
        f"{INSTALLED!r} is compliant, and should be not compliant"
    ]
    assert sum("mend" in argv[2].rsplit("\n", 1)[-1] for argv in it.node.ran) == 2


def test_on_a_target_what_was_red_before_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [HEALTHY | {DRIVER: Found(RED, "down")}, HEALTHY | {INSTALLED: Found(RED, "gone")}]
    first, second = it.results()
    assert first.unasked == f"{DRIVER!r} is not compliant without it, too"
    assert second.held
    assert not any("one" in argv[2].rsplit("\n", 1)[-1] for argv in it.node.ran)


def test_on_a_target_nothing_follows_a_fault_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    it = OnTarget(monkeypatch)
    it.answers = [HEALTHY, HEALTHY | {DRIVER: Found(RED, "down")}]
    it.looks = [{"a": "1"}, {"a": "2"}]
    (only,) = it.results()
    assert [str(each) for each in only.problems] == ["it was not rolled back: a: 1 -> 2"]


def test_the_throw_away_container_is_a_target_of_its_own(tmp_path: Path) -> None:
    asked = Target("pve1", 951, user="admin", sudo=True, jump="bastion", template="a b")
    file = tmp_path / "targets.toml"
    file.write_text(real.table(asked))
    assert target_file.find("faults", file) == asked
