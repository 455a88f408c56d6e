"""Answers that serve several scenarios: asked once, and never older than the last change."""

import shlex
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import TransportError, too_late
from docker_lxc_gate.machines.batch import Argv, Shared
from docker_lxc_gate.machines.read import Read, unparsed
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.transport import Inside, Recorded, Transport
from tests.doubles.nodes.behind_shell import Node

ONE, TWO, INNER = (unparsed("say", word) for word in ("one", "two", "inner"))


def _nothing(argv: Sequence[str], timeout: float) -> None:
    """Nothing happens to a command."""


class Changing(Node):
    """Each command that is no read changes what everything answers; ``instead`` comes first."""

    def __init__(self, instead: Callable[[Sequence[str], float], str | None] = _nothing) -> None:
        super().__init__({}, {"say": lambda words: f"{words[1]} {self.state}"})
        self.state, self.instead = 0, instead

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> CommandResult:
        if complaint := self.instead(argv, timeout):
            self.trips.append(shlex.join(argv))
            return CommandResult(tuple(argv), 255, b"", complaint.encode(), "node", 0.0, 0.0)
        if "change" in argv:
            self.state += 1
            self.trips.append(shlex.join(argv))
            return CommandResult(tuple(argv), 0, b"", b"", self.machine, 0.0, 0.0)
        return super().run(argv, stdin=stdin, timeout=timeout)


def foreseen(node: Node, *reads: Read[CommandResult]) -> tuple[Shared, Transport]:
    """Return the layer and the container, of whose reads INNER is foreseen."""
    shared = Shared(node)
    within = Pct(node).inside(950)
    assert isinstance(within, Inside)
    shared.expect(reads, within, [INNER, unparsed("say", "more", timeout=120)])
    return shared, Pct(shared).inside(950)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be moved by hand."""
    now = [1000.0]
    monkeypatch.setattr("docker_lxc_gate.machines.batch.time.monotonic", lambda: now[0])
    return now


def said(shared: Transport, read: Read[CommandResult]) -> str:
    return shared.ask(read).text


def test_answers_are_kept_while_something_is_watched_and_forgotten_when_it_is_held() -> None:
    node = Changing()
    shared, container = foreseen(node, ONE)
    for start, asked in ((shared.watch, 0), (container.watch, 0), (shared.hold, 1)):
        shared.begin()
        said(container, INNER)
        start(["say", "one"], "noting")
        node.trips.clear()
        shared.begin()
        said(container, INNER)
        assert node.starts == asked


def test_answers_serve_every_step_and_cost_one_round_trip_a_machine() -> None:
    node = Changing()
    shared, container = foreseen(node, ONE, TWO)
    for _ in range(3):
        shared.begin()
        assert (said(shared, TWO), said(shared, ONE)) == ("two 0", "one 0")
        assert said(container, INNER) == "inner 0"
        assert container.look(["say", "more"], timeout=120).text == "more 0"
    assert (len(node.trips), node.starts) == (2, 1)


def test_step_that_asks_twice_is_answered_by_the_machine_and_so_are_later_ones() -> None:
    node = Changing()
    shared, _ = foreseen(node, ONE, TWO)
    assert said(shared, ONE) == "one 0"
    node.state = 7  # by itself, as a process may end
    assert said(shared, ONE) == "one 7"
    shared.begin()
    assert said(shared, ONE) == "one 7"
    assert len(node.trips) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda shared, _: shared.run(["change"]),
        lambda _, container: container.run(["change"]),
        lambda shared, _: shared.hold(["change"], "held"),
    ],
)
def test_answers_are_forgotten_when_anything_is_run_on_either_machine(
    change: Callable[[Transport, Transport], object],
) -> None:
    node = Changing()
    shared, container = foreseen(node, ONE, TWO)
    said(shared, ONE)
    said(container, INNER)
    change(shared, container)
    shared.begin()
    before = len(node.trips)
    assert said(shared, ONE) == f"one {node.state}"
    assert said(container, INNER) == f"inner {node.state}"
    assert len(node.trips) == before + 2


DOING = ["one", "two", "inner", "other", "learned", "change", "inside", "begin"]


@given(st.lists(st.sampled_from(DOING)))
def test_no_answer_is_older_than_the_last_change(doing: list[str]) -> None:
    node = Changing()
    shared, container = foreseen(node, ONE, TWO)
    for each in doing:
        if each == "begin":
            shared.begin()
        elif each == "learned":
            with shared.learn():
                assert said(shared, unparsed("say", each)) == f"{each} {node.state}"
        elif each in {"change", "inside"}:
            (shared if each == "change" else container).run(["change"])
        else:
            on = container if each == "inner" else shared
            assert said(on, unparsed("say", each)) == f"{each} {node.state}"


def test_answers_are_asked_again_after_a_while(clock: list[float]) -> None:
    node = Changing()
    shared, _ = foreseen(node, ONE, TWO)
    said(shared, ONE)
    node.state = 7
    for seconds, expected in ((59.5, "one 0"), (1, "one 7")):
        clock[0] += seconds
        shared.begin()
        assert said(shared, ONE) == expected


def test_answer_that_was_asked_again_does_not_let_others_live_longer(clock: list[float]) -> None:
    node = Changing()
    shared, _ = foreseen(node, ONE, TWO)
    said(shared, ONE)
    clock[0] += 50
    said(shared, ONE)  # in the same step: the machine is asked
    node.state = 7
    clock[0] += 20
    shared.begin()
    assert said(shared, TWO) == "two 7"


def test_one_foreseen_read_is_asked_as_it_is() -> None:
    node = Changing()
    shared, _ = foreseen(node, ONE)
    said(shared, ONE)
    assert node.trips == ["say one"]


def test_answers_of_a_slow_machine_serve_from_when_they_came(clock: list[float]) -> None:

    def slow(argv: Sequence[str], timeout: float) -> None:
        clock[0] += Shared.LASTS + 1

    node = Changing(slow)
    shared, _ = foreseen(node, ONE, TWO)
    said(shared, ONE)
    said(shared, TWO)
    assert len(node.trips) == 1


def test_question_not_foreseen_or_with_input_is_asked_each_time() -> None:
    node = Changing()
    shared, _ = foreseen(node, ONE, TWO)
    for _ in range(2):
        shared.begin()
        said(shared, unparsed("say", "three"))
        shared.look(ONE.argv, stdin=b"input")
    assert len(node.trips) == 4


def test_question_without_an_answer_in_a_round_trip_is_asked_by_itself_and_serves_then() -> None:
    node = Changing()
    node.says = {"say two": (124, "", ""), **node.says}
    shared, _ = foreseen(node, ONE, TWO, unparsed("say", "three"))
    for _ in range(3):
        shared.begin()
        assert shared.ask(TWO).exit_code == 124
        assert said(shared, ONE) == "one 0"
    assert len(node.trips) == 2


def test_answer_that_is_learned_serves_as_if_foreseen_until_something_changes() -> None:
    node = Changing()
    shared, _ = foreseen(node, ONE)
    three = unparsed("say", "three")
    with shared.learn():
        assert said(shared, three) == "three 0"
    for _ in range(2):
        shared.begin()
        assert said(shared, three) == "three 0"
    assert len(node.trips) == 1
    assert said(shared, three) == "three 0"
    assert len(node.trips) == 2, "a step that asks twice looks for a change"
    shared.run(["change"])
    shared.begin()
    assert said(shared, three) == "three 1"
    for _ in range(2):  # not learned any more
        shared.begin()
        said(shared, unparsed("say", "four"))
    assert len(node.trips) == 6


def test_answer_about_the_node_alone_serves_such_steps_of_every_target_once_each(
    clock: list[float],
) -> None:
    node = Changing()
    memory: dict[Argv, CommandResult] = {}
    one, other = (Shared(node, memory) for _ in range(2))
    one.begin(of_node=True)
    assert said(one, ONE) == "one 0"
    clock[0] += Shared.LASTS + 1
    node.state = 7
    for shared in (one, other):
        shared.begin(of_node=True)
        assert said(shared, ONE) == "one 0"
        shared.begin()
        assert said(shared, ONE) == "one 7", "of a container, too"
    other.begin(of_node=True)
    assert [said(other, ONE) for _ in range(2)] == ["one 0", "one 7"], "it looks for a change"
    one.begin(of_node=True)
    assert said(one, ONE) == "one 7"
    assert one.look(ONE.argv, stdin=b"input").text == "one 7"
    assert len(node.trips) == 5


def test_answer_about_the_node_is_not_compared_with_an_older_one_after_a_failure() -> None:
    def late(argv: Sequence[str], timeout: float) -> None:
        if "two" in argv and not node.state:
            raise too_late("node", argv, timeout)

    node = Changing(late)
    shared = Shared(node, {})
    shared.begin(of_node=True)
    said(shared, ONE)
    with pytest.raises(TransportError):
        said(shared, TWO)
    node.state = 7
    shared.begin(of_node=True)
    assert (said(shared, ONE), said(shared, TWO)) == ("one 7", "two 7")


def test_run_that_changes_something_keeps_no_answer_about_the_node() -> None:
    node = Changing()
    shared = Shared(node)
    for state in range(2):
        node.state = state
        shared.begin(of_node=True)
        assert said(shared, ONE) == f"one {state}"


def test_machine_that_does_not_answer_many_at_once_is_given_up_and_asked_one_by_one() -> None:
    timeouts: list[float] = []

    def frozen(argv: Sequence[str], timeout: float) -> None:
        timeouts.append(timeout)
        if argv[-1] == "at once":
            raise too_late("node", argv, timeout)

    reads = [unparsed("say", str(number)) for number in range(40)]
    shared, _ = foreseen(Changing(frozen), *reads)
    assert said(shared, reads[0]) == "0 0"
    assert said(shared, reads[1]) == "1 0"
    assert timeouts == [120, 60, 60]


def test_machine_that_answers_no_batch_is_not_asked_so_again_later(clock: list[float]) -> None:

    together: list[Sequence[str]] = []

    def frozen(argv: Sequence[str], timeout: float) -> None:
        if "pct" in argv:
            together.extend([argv] if argv[-1] == "at once" else [])
            clock[0] += timeout
            raise too_late("node", argv, timeout)

    node = Changing(frozen)
    shared, container = foreseen(node, ONE, TWO)
    for _ in range(3):
        shared.begin()
        said(shared, ONE)
        with pytest.raises(TransportError):
            container.ask(INNER)
    assert len(together) == 1


def test_read_that_was_too_slow_among_others_is_not_asked_with_others_again() -> None:
    node = Changing()
    node.says = {"say two": (124, "", ""), **node.says}
    shared, _ = foreseen(node, ONE, TWO)
    said(shared, ONE)
    others = [unparsed("say", word) for word in ("three", "four")]
    within = Pct(node).inside(950)
    assert isinstance(within, Inside)
    shared.expect([ONE, TWO, *others], within, [])
    shared.begin()
    assert [said(shared, each) for each in others] == ["three 0", "four 0"]
    assert "say two" not in node.trips[-1]
    assert len(node.trips) == 2


def test_container_that_cannot_be_entered_says_so_each_time_in_its_own_words() -> None:
    def stopped(argv: Sequence[str], timeout: float) -> str | None:
        return "container '950' not running!" if "pct" in argv else None

    node = Changing(stopped)
    shared, container = foreseen(node, ONE)
    for _ in range(2):
        shared.begin()
        with pytest.raises(TransportError, match="not running"):
            container.ask(INNER)
    assert len(node.trips) == 2, "the second time, nothing had been run in between"


def test_evidence_above_has_each_command_where_it_is_asked() -> None:
    heard: list[CommandResult] = []
    node = Changing()
    shared, _ = foreseen(node, ONE, TWO)
    above = Recorded(shared, heard.append)
    container = Pct(above).inside(950)
    said(above, ONE)
    first, heard[:] = list(heard), []
    shared.begin()
    said(above, ONE)
    said(container, INNER)
    assert [each.argv for each in first] == [ONE.argv]
    second, inner = heard
    assert second.argv == ONE.argv
    assert inner.argv[:3] == ("pct", "exec", "950")
    assert inner.argv[-2:] == INNER.argv
    assert {each.machine for each in heard} == {"node"}
