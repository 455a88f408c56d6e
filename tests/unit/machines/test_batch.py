"""Many questions in one round trip: the answers are the same, and nothing else is."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import Dropped, RemediationError, TransportError, too_late
from docker_lxc_gate.machines.batch import Ahead, at_once, in_turn, more_follows, told
from docker_lxc_gate.machines.read import unparsed
from docker_lxc_gate.machines.transport import Inside, Local, Recorded, Transport
from tests.doubles.answering import Answer, Answering
from tests.doubles.nodes.behind_shell import answers

if TYPE_CHECKING:
    from docker_lxc_gate.machines.result import CommandResult

COMMANDS: list[tuple[str, ...]] = [
    ("true",),
    ("sh", "-c", "echo said; echo complained >&2; exit 3"),
    ("cat", "/nowhere"),
    ("cat",),
    ("printf", "%s", 'it\'s "quoted"\n-\\', ""),
    ("head", "-c", "300000", "/dev/urandom"),
    ("sh", "-c", "head -c 300000 /dev/zero >&2; exit 255"),
    ("no-such-program",),
]


def test_answers_are_those_of_each_command_by_itself() -> None:
    found = at_once(Local(), COMMANDS)
    for argv, result in zip(COMMANDS, found, strict=True):
        alone = Local().run(["timeout", "60", *argv])
        assert (result.argv, result.exit_code) == (argv, alone.exit_code)
        assert len(result.stdout) == len(alone.stdout)
        if argv[0] != "head":
            assert (result.stdout, result.stderr) == (alone.stdout, alone.stderr)


def test_in_turn_returns_all_up_to_the_first_failure_and_a_reader_is_told_each() -> None:
    heard: list[CommandResult] = []
    done = in_turn(Recorded(Local(), heard.append), COMMANDS[:3], timeout=60)
    assert [each.exit_code for each in done] == [0, 3]
    assert (told(heard[0]) or [])[:2] == done
    assert len(in_turn(Local(), [("true",), ("true",)], timeout=60)) == 2


def test_in_turn_with_a_failure_before_a_late_command_returns_the_failure() -> None:
    done = in_turn(Local(), [("sh", "-c", "exit 3"), ("sleep", "20")], timeout=0.5)
    assert [each.exit_code for each in done] == [3]


def test_in_turn_of_a_command_that_is_late_or_answers_that_are_cut_is_an_error() -> None:
    with pytest.raises(TransportError, match="sleep 20"):
        in_turn(Local(), [("sleep", "20"), ("true",)], timeout=0.5)
    with pytest.raises(TransportError, match="is not known"):
        in_turn(Answering(lambda _: b""), [("true",)], timeout=1)


def test_reader_is_told_what_was_asked_and_answered() -> None:
    heard: list[CommandResult] = []
    commands = [*COMMANDS, ("printf", "%s", "a\nb 'c'\n\nd")]
    asked = at_once(Recorded(Local(), heard.append), commands)
    (whole,) = heard
    assert told(whole) == asked
    assert [each.argv for each in asked] == commands
    through = replace(whole, argv=("pct", "exec", "950", "--", *whole.argv))
    assert told(through) == asked, "also where it was asked in a container"
    cut_short = whole.stdout[:-1]
    assert told(replace(whole, stdout=cut_short)) == []
    odd = replace(whole, argv=(*whole.argv[:-2], whole.argv[-2] + "'", whole.argv[-1]))
    assert told(odd) == []
    assert told(Local().run(["echo", "at once"])) is None
    assert told(Local().run(["true"])) is None


@given(cut=st.integers(0, 400), error=st.booleans())
def test_answers_that_did_not_come_whole_are_no_answers(cut: int, error: bool) -> None:
    """As when the shell is killed in between."""
    asked = [("echo", "said"), ("sh", "-c", "echo no >&2; exit 3")]

    lost: list[bool] = []

    def cut_short(argv: list[str]) -> Answer:
        streams = list(answers(argv[2], [(0, b"said\n", b""), (3, b"", b"no\n")]))
        lost.append(cut < len(streams[error]))
        streams[error] = streams[error][:cut]
        return 0, *streams

    found = [each.argv for each in at_once(Answering(cut_short), asked)]
    assert found == ([] if lost[0] else asked)


@pytest.mark.parametrize(
    "change", ["another end", "its line cut off", "another code", "no end", "words behind"]
)
def test_answers_with_ends_that_do_not_fit_are_no_answers(change: str) -> None:
    """As a container's root may send them, who knows the mark."""

    def forged(argv: list[str]) -> Answer:
        out, err = answers(argv[2], [(0, b"a", b""), (3, b"b", b"c")])
        *_, mark = out.split(b"\n")[1].split(b" ")[:1]
        out = {
            "another end": out.replace(b"\na", b"\na\n%s 0\n" % mark),
            "its line cut off": out.replace(b"\na", b"\na\n%s 0" % mark),
            "another code": out.replace(b" 3\n", b" 4\n"),
            "no end": out.replace(mark + b" 3", b"x 3"),
            "words behind": out + b"more",
        }[change]
        return 0, out, err

    assert at_once(Answering(forged), [("a",), ("b",)]) == []


def test_answers_with_words_of_the_runtime_around_them_are_the_commands_own() -> None:
    def talks(argv: list[str]) -> Answer:
        out, err = answers(argv[2], [(0, b"a", b"b"), (0, b"", b"")])
        return 0, b"of pct\n" + out, b"of lxc-attach" + err + b"at the end"

    one, _ = at_once(Answering(talks), [("a",), ("b",)])
    assert (one.stdout, one.stderr) == (b"a", b"b")


def test_answers_that_hold_the_script_itself_are_whole() -> None:
    """As a list of the processes does."""
    processes = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -a ^mark="
    found = at_once(Local(), [("sh", "-c", processes), ("true",)])
    assert [b"mark=" in each.stdout for each in found] == [True, False]


def test_question_that_cannot_be_asked_says_so_in_the_words_of_one_question() -> None:
    def stopped(argv: list[str]) -> Answer:
        raise TransportError(f"container '950' not running!: {argv[0]}")

    ahead = Ahead(Answering(stopped), [unparsed("uname"), unparsed("id")])
    with pytest.raises(TransportError) as raised:
        ahead.look(["uname"])
    assert str(raised.value) == "container '950' not running!: uname"


def test_question_that_was_killed_is_asked_again_by_itself() -> None:
    """As timeout(1) does with what does not end when it is asked to."""
    found = at_once(Local(), [("true",), ("sh", "-c", "kill -9 $$"), ("echo", "on")])
    assert [result.argv for result in found] == [("true",), ("echo", "on")]


def test_ahead_asks_one_read_as_it_is() -> None:
    ran: list[CommandResult] = []
    one = unparsed("echo", "a")
    alone = Ahead(Recorded(Local(), ran.append), [one])
    assert (alone.ask(one).text, ran[-1].argv) == ("a\n", one.argv)


def test_ahead_that_keeps_its_answers_answers_again_until_something_is_run() -> None:
    ran: list[CommandResult] = []
    reads = [unparsed("echo", word) for word in "ab"]
    ahead = Ahead(Recorded(Local(), ran.append), reads, keep=True)
    assert [ahead.ask(reads[0]).text for _ in range(3)] == ["a\n"] * 3
    assert len(ran) == 1
    ahead.run(["true"])
    ahead.ask(reads[0])
    assert len(ran) == 3


def container(outer: Transport) -> Inside:
    return Inside(outer, "container 950", list, lambda _: None)


def test_change_in_a_container_brings_the_answers_after_it(tmp_path: Path) -> None:
    ran: list[CommandResult] = []
    file = tmp_path / "file"
    read = unparsed("cat", str(file))
    ahead = Ahead(container(Recorded(Local(), ran.append)), [read], keep=True)
    file.write_text("before")
    assert ahead.ask(read).text == "before"
    done = ahead.run(["sh", "-c", 'cat >"$1"; echo done; exit 3', "put", str(file)], stdin=b"after")
    assert (done.exit_code, done.text, done.machine) == (3, "done\n", "container 950")
    assert ahead.ask(read).text == "after"
    assert len(ran) == 2
    assert [each.exit_code for each in told(ran[1]) or ()] == [3, 0]


def test_change_with_more_to_follow_brings_few_answers_and_the_next_look_the_others() -> None:
    ran: list[CommandResult] = []
    reads = [unparsed("echo", word) for word in "abc"]
    ahead = Ahead(container(Recorded(Local(), ran.append)), reads, keep=True)
    with more_follows(ahead, reads[:1]):
        ahead.run(["false"])
        assert ahead.ask(reads[0]).text == "a\n"
        ahead.run(["true"])
    assert [len(told(each) or ()) for each in ran] == [2, 2]
    assert [ahead.ask(each).text for each in reads] == ["a\n", "b\n", "c\n"]
    assert [len(told(each) or ()) for each in ran[2:]] == [2]
    ahead.run(["true"])
    assert len(told(ran[3]) or ()) == 4
    with more_follows(Local(), reads):  # a machine that asks nothing ahead
        assert Local().run(["true"]).ok


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((0, b"forged", b""), "cannot be told apart"),
        (TransportError("CT 950 not running"), "not running"),
        (too_late("pve1", ["sh"], 9), "touch x did not end"),
    ],
)
def test_change_without_answers_is_not_resent(answer: Answer | TransportError, words: str) -> None:
    def says(_: list[str]) -> Answer:
        if isinstance(answer, TransportError):
            raise answer
        return answer

    guest = Answering(says)
    ahead = Ahead(container(guest), [unparsed("id")], keep=True)
    with pytest.raises(TransportError, match=words):
        ahead.run(["touch", "x"])
    assert len(guest.ran) == 1


def test_without_such_a_shell_each_is_asked_by_itself() -> None:
    bare = Answering(lambda argv: (127 if argv[0] == "sh" else 0, b"", b"no sh"))
    ahead = Ahead(bare, [unparsed("a"), unparsed("b")])
    assert [ahead.look(["a"]).argv, ahead.look(["b"]).argv] == [("a",), ("b",)]


def test_questions_at_once_take_two_minutes_at_most() -> None:
    """A container that is frozen answers nothing: to ask twenty reads takes no twenty minutes."""

    def silent(argv: list[str]) -> Answer:
        raise too_late("pve1", argv, 60)

    frozen = Answering(silent)
    ahead = Ahead(frozen, [unparsed("say", str(number)) for number in range(20)])
    with pytest.raises(TransportError):
        ahead.look(["say", "1"])
    assert frozen.timeouts == [120, 60]


def test_at_once_on_a_connection_that_is_cut_is_an_error() -> None:
    def cut(_: list[str]) -> Answer:
        raise Dropped("cut")

    with pytest.raises(Dropped):
        at_once(Answering(cut), [("true",), ("id",)])


def test_ahead_answers_each_read_once_from_one_round_trip() -> None:
    ran: list[CommandResult] = []
    reads = [unparsed("echo", word) for word in "abc"]
    ahead = Ahead(Recorded(Local(), ran.append), reads)
    assert [ahead.ask(reads[1]).text, ahead.ask(reads[0]).text] == ["b\n", "a\n"]
    assert len(ran) == 1
    ahead.ask(reads[0])
    assert len(ran) == 2, "it was answered twice"
    ahead.ask(reads[2])
    assert len(ran) == 2, "a read made it forget the answer to another one"


@pytest.mark.parametrize(
    "change", [lambda on: on.run(["true"]), lambda on: on.hold(["echo"], "").release()]
)
def test_ahead_forgets_its_answers_after_any_change(change: Callable[[Transport], object]) -> None:
    ran: list[CommandResult] = []
    reads = [unparsed("echo", word) for word in "ab"]
    ahead = Ahead(Recorded(Local(), ran.append), reads)
    ahead.ask(reads[0])
    with suppress(RemediationError):
        change(ahead)
    before = len(ran)
    ahead.ask(reads[1])
    assert len(ran) == before + 1
