"""Many reads in one round trip.

Checking a container takes some twenty small reads. Asked one by one, each waits for the last one's
answer, and each starts ``pct``. :class:`Ahead` asks the reads that it was given all at once, when
the first of them is wanted, and answers from that. Any other read is asked by itself: to forget one
costs a round trip, and changes nothing else. :class:`Shared` does so for the many scenarios of a
gate, which ask the same again and again.
"""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import Dropped, LimitExceeded, TransportError, too_late, too_much
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import LIMIT, Inside, Layer, Transport, at_most

Argv = tuple[str, ...]

#: Runs one command, and ends its output and its standard error with a line each: the mark, and the
#: exit code. No other program takes part, because to start one takes longer than most reads. Each
#: trip has a mark of its own: nothing that is read holds it by chance, and nobody whose words lie
#: in the node's files and logs knows it. Who sees it in the list of processes can only add marks:
#: then their number is wrong, or the two outputs differ, and nothing of the trip is taken. Only a
#: container's root can do more, and he can give false answers to single reads just as well.
_SCRIPT = """
mark={mark}
end() {{ printf '\\n%s %d\\n' $mark $1; printf '\\n%s %d\\n' $mark $1 >&2; }}
one() {{ "$@" </dev/null; end $?; }}
run() {{ "$@"; end $?; }}
end 0
"""
_MARK = patterns.compile("\nmark=([0-9a-f]{32})\n")
#: For each command (seconds): one that takes longer is asked again, by itself.
_PATIENCE = 60.0
#: For all together (seconds): a container that is frozen answers nothing, and then each is asked by
#: itself.
_LONGEST_TRIP = 120.0
#: All answers together (bytes): where they are longer, each is asked by itself.
_LONGEST = 16 << 20
_LATE = frozenset({124, 137})
_LAST_CODE = 255
_BOUNDED = "one timeout -k 5 "
_FIRST = "run timeout -k 5 "
_NAME = "at once"


def at_once(on: Transport, argvs: Sequence[Argv]) -> list[CommandResult]:
    """Run commands that only look, a minute at most each, without input, in one round trip.

    Returns:
        The results of those that ended in time and within ``LIMIT``; none if ``on`` has no shell
        that can do this, cannot be asked, or one of them floods all: whoever asks one of them by
        itself hears why, in the words of that one.

    Raises:
        Dropped: the connection was cut: a run that goes on has lost its lock.
    """
    mark = secrets.token_hex(16)
    script = _SCRIPT.format(mark=mark)
    script += "".join(f"{_BOUNDED}{_PATIENCE:g} {shlex.join(argv)}\n" for argv in argvs)
    try:
        with at_most(_LONGEST):
            patience = min(_LONGEST_TRIP, _PATIENCE * len(argvs))
            whole = on.look(["sh", "-c", script, _NAME], timeout=patience)
    except Dropped:
        raise
    except TransportError:
        return []
    return _in_time(_answers(whole, argvs, mark))


def _in_time(answers: Iterable[CommandResult]) -> list[CommandResult]:
    return [each for each in answers if each.exit_code not in _LATE and _is_short(each)]


def _is_short(answer: CommandResult) -> bool:
    return max(len(answer.stdout), len(answer.stderr)) <= LIMIT


def followed(
    on: Transport, argv: Argv, reads: Sequence[Argv], *, stdin: bytes, timeout: float
) -> tuple[CommandResult, list[CommandResult]]:
    """Run one command as :meth:`Transport.run` does, and ask reads after it, in one round trip.

    Returns:
        Its result, and those of the reads, one at least, as :func:`at_once` returns them.

    Raises:
        TransportError: also if the answers cannot be told apart. The command is not sent again.
    """
    mark = secrets.token_hex(16)
    script = f"{_SCRIPT.format(mark=mark)}{_FIRST}{timeout:g} {shlex.join(argv)}\n"
    patience = _LONGEST_TRIP / len(reads)  # a frozen container is not waited for longer
    script += "".join(f"{_BOUNDED}{patience:g} {shlex.join(each)}\n" for each in reads)
    words, longest = ("sh", "-c", script, _NAME), timeout + _LONGEST_TRIP + 5 * (len(reads) + 1)
    try:
        with at_most(_LONGEST):
            whole = on.run(words, stdin=stdin, timeout=longest)
    except LimitExceeded as error:
        raise LimitExceeded(on.machine, argv, error.passed, late=error.late) from None
    except TransportError as error:
        if type(error) is not TransportError:
            raise
        # The runtime's own words: their reader need not read our script.
        said = str(error).replace(shlex.join(words), shlex.join(argv))
        raise TransportError(said) from None
    answers = _answers(whole, [argv, *reads], mark)
    if not answers:
        said = "and the looks after it answered cannot be told apart, so how it ended is not known"
        raise TransportError(f"on {on.machine}: what {shlex.join(argv)} {said}")
    done, *after = answers
    if done.exit_code in _LATE and whole.seconds >= timeout:
        raise too_late(on.machine, argv, timeout)
    if not _is_short(done):
        raise too_much(on.machine, argv, LIMIT)
    return done, _in_time(after)


def in_turn(on: Transport, argvs: Sequence[Argv], *, timeout: float) -> list[CommandResult]:
    """Run commands that may change something, one after the other, in one round trip.

    ``timeout`` is for each of them (seconds).

    Returns:
        Their results up to the first that failed. Those after it are run, too.

    Raises:
        TransportError: that one took longer, or the answers cannot be told apart. None is sent
            again.
    """
    mark = secrets.token_hex(16)
    script = _SCRIPT.format(mark=mark)
    script += "".join(f"{_BOUNDED}{timeout:g} {shlex.join(argv)}\n" for argv in argvs)
    whole = on.run(["sh", "-c", script, _NAME], timeout=(timeout + 5) * len(argvs))
    if not (answers := _answers(whole, argvs, mark)):
        raise TransportError(
            f"on {on.machine}: how {argvs[0][0]} and {len(argvs) - 1} more ended "
            "is not known: their answers cannot be told apart"
        )
    ended = 1 + next((n for n, each in enumerate(answers) if not each.ok), len(answers) - 1)
    if answers[ended - 1].exit_code in _LATE and whole.seconds >= timeout:
        raise too_late(on.machine, answers[ended - 1].argv, timeout)
    return answers[:ended]


def told(whole: CommandResult) -> list[CommandResult] | None:
    """Return what a round trip of any command asked and was answered, for a reader.

    Returns:
        Each command's result, none if the answers cannot be read; None if it was another command.
    """
    script, name = ("", "", *whole.argv)[-2:]
    begins = _MARK.match(script)
    if name != _NAME or not begins or not script.startswith(_SCRIPT.format(mark=begins[1])):
        return None
    asked = patterns.split(rf"(?m)^(?:{_BOUNDED}|{_FIRST})\S+ ", script)[1:]
    try:
        return _answers(whole, [tuple(shlex.split(words)) for words in asked], begins[1])
    except ValueError:  # a line of an argument looked like the next command
        return []


def _answers(whole: CommandResult, argvs: Sequence[Argv], mark: str) -> list[CommandResult]:
    """Return each command's whole result; none if the answers cannot be read, whoever sent them."""
    codes, out = _split(whole.stdout, mark.encode())
    also, err = _split(whole.stderr, mark.encode())
    if codes != also or len(codes) != len(argvs) + 1 or max(codes) > _LAST_CODE or out[-1]:
        return []
    return [
        CommandResult(argv, code, said, wrong, whole.machine, whole.started, whole.seconds)
        for argv, code, said, wrong in zip(argvs, codes[1:], out, err, strict=False)
    ]


def _split(stream: bytes, mark: bytes) -> tuple[list[int], list[bytes]]:
    """Return the exit codes in a stream, and what follows each of them.

    What comes before the first one is not an answer: the runtime that reached into a container may
    have said it.
    """
    _, *rest = patterns.split(rb"(?m)^%s ([0-9]{1,3})\n" % mark, stream)
    return [int(code) for code in rest[::2]], [each.removesuffix(b"\n") for each in rest[1::2]]


class Ahead(Layer):
    """Asks all the reads that it was given when the first of them is wanted.

    Answers are forgotten when anything is run through it that is no read: it may change what they
    say. Each serves once, so that whoever waits for a change sees it. With ``keep`` it may serve
    again, also that of a read that nobody foresaw, and all that was expected of a container is
    asked again in the same round trip.
    """

    def __init__(
        self, inner: Transport, reads: Iterable[Read[Any]] = (), *, keep: bool = False
    ) -> None:
        super().__init__(inner)
        self._keep = keep
        self._expected: list[Argv] = []
        self._again: dict[Argv, None] = {}  # what was ever expected
        self._answers: dict[Argv, CommandResult] = {}
        #: Answers what it foresees, also to those who ask it through this machine.
        self.within: Ahead | None = None
        self.expect(reads)

    def expect(self, reads: Iterable[Read[Any]]) -> None:
        """Ask these, too, with the first of them that is wanted. A known answer stays."""
        wanted = dict.fromkeys([*self._expected, *(read.argv for read in reads)])
        self._expected = [argv for argv in wanted if argv not in self._answers]
        self._again |= wanted

    @contextmanager
    def only(self, reads: Iterable[Read[Any]]) -> Iterator[None]:
        """Ask only these reads after what is run in the context. Expect nothing in it."""
        whole, self._again = self._again, dict.fromkeys(read.argv for read in reads)
        try:
            yield
        finally:
            self._again = whole
            self._expected = [argv for argv in whole if argv not in self._answers]

    def inherit(self, earlier: Ahead) -> None:
        """Serve the answers of another one of this machine, through which the last change went."""
        self._answers |= earlier._answers
        self.expect(())

    @override
    def forget(self) -> None:
        self._answers.clear()

    @override
    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60
    ) -> CommandResult:
        if stdin:
            return self._inner.look(argv, stdin=stdin, timeout=timeout)
        key = tuple(argv)
        if self.within and (foreseen := self.within.inner(key)):
            return self.within.look(foreseen)
        if key in self._expected:
            asked, self._expected = self._expected, []
            if len(asked) > 1:
                self._answers |= {answer.argv: answer for answer in at_once(self._inner, asked)}
        if key not in self._answers:
            answer = self._inner.look(argv, timeout=timeout)
            if not self._keep:
                return answer
            self._answers[key] = answer
        return self._answers[key] if self._keep else self._answers.pop(key)

    def inner(self, argv: Argv) -> Argv | None:
        """Return the foreseen read that the machine around knows by this argv; None if none is."""
        if not isinstance(self._inner, Inside):
            return None
        return {tuple(self._inner.outer(each)): each for each in self._again}.get(argv)

    @override
    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> CommandResult:
        if not self._keep or not self._again or not isinstance(self._inner, Inside):
            return super().run(argv, stdin=stdin, timeout=timeout)
        self._answers, self._expected = {}, []
        reads = list(self._again)
        done, after = followed(self._inner, tuple(argv), reads, stdin=stdin, timeout=timeout)
        self._answers = {answer.argv: answer for answer in after}
        return done


def more_follows(on: Transport, reads: Iterable[Read[Any]]) -> AbstractContextManager[None]:
    """Let no command of the context but these reads be followed by looks (:class:`Ahead`)."""
    return on.only(reads) if isinstance(on, Ahead) else nullcontext()


@dataclass(frozen=True)
class _Batch:
    """Reads of one machine: ``asked`` has each argv as ``on`` knows it, by that of the node."""

    on: Transport
    asked: dict[Argv, Argv]


class Shared(Layer):
    """Asks foreseen reads in one round trip a machine, and lets each answer serve several steps.

    An answer serves each step once: a step that asks a second time looks for a change, and the
    machine is asked. All answers are forgotten when anything is run that is no read, on the node or
    in a container, and after :data:`LASTS`. The container's commands pass here, too.

    Args:
        inner: reaches the node.
        of_node: what steps of the node alone were answered, of any container, if it was no error:
            it serves further ones, however old, once each. None: nothing is kept so.
    """

    #: How long an answer may serve (seconds).
    LASTS = 60.0

    def __init__(self, inner: Transport, of_node: dict[Argv, CommandResult] | None = None) -> None:
        super().__init__(inner)
        self.of_node = of_node
        self._kept: dict[Argv, CommandResult] | None = None  # the same, in such a step
        self._batches: list[_Batch] = []
        self._answers: dict[Argv, CommandResult] = {}
        self._served: set[Argv] = set()
        #: What a batch did not answer: asked by itself until something is run. To ask it together
        #: with others again, when answers got old, would take as long again.
        self._alone: set[Argv] = set()
        #: What :meth:`learn` found: asked by itself, and answers then as the foreseen ones do.
        self._learned: set[Argv] = set()
        self._learning = False
        self._since = 0.0  # when the first of the answers came

    @property
    def inner(self) -> Transport:
        """The node, as it is reached without this."""
        return self._inner

    def expect(
        self, reads: Iterable[Read[Any]], within: Inside, inside: Iterable[Read[Any]]
    ) -> None:
        """Foresee these reads of the node, and those ``inside`` its container, and no others.

        What is known already is not asked again. ``within`` reaches the container from
        :attr:`inner`.
        """
        outer = {tuple(within.outer(each.argv, each.timeout)): each.argv for each in inside}
        self._batches = [
            _Batch(self._inner, {each.argv: each.argv for each in reads}),
            _Batch(within, outer),
        ]

    @contextmanager
    def learn(self) -> Iterator[None]:
        """Foresee what is looked at in the context, too: each read that another's answer names."""
        self._learning = True
        try:
            yield
        finally:
            self._learning = False

    def begin(self, *, of_node: bool = False) -> None:
        """Begin a step: every answer may serve it once. It may be of the node alone."""
        self._served.clear()
        self._kept = self.of_node if of_node else None

    @override
    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60
    ) -> CommandResult:
        key, kept = tuple(argv), None if stdin else self._kept
        if kept and key in kept and key not in self._served:
            self._served.add(key)
            return kept[key]
        try:
            answer = self._answer(key, stdin, timeout)
        except TransportError:  # no answer of now is compared with an older one
            if self.of_node:
                self.of_node.clear()
            raise
        if kept is not None:
            self._served.add(key)
            kept.pop(key, None)
            if answer.ok:  # what failed once is asked again for the next target
                kept[key] = answer
        return answer

    def _answer(self, key: Argv, stdin: bytes, timeout: float) -> CommandResult:
        batch = next((each for each in self._batches if key in each.asked), None)
        if self._learning and batch is None:
            self._learned.add(key)
        if stdin or (batch is None and key not in self._learned):
            return self._inner.look(key, stdin=stdin, timeout=timeout)
        if self._answers and time.monotonic() > self._since + self.LASTS:
            self._answers.clear()
        if batch and not {key} & (self._served | self._answers.keys() | self._alone):
            self._ask(batch)
        if key in self._served or key not in self._answers:
            self._answers.pop(key, None)
            self._keep({key: self._inner.look(key, timeout=timeout)})
        self._served.add(key)
        return self._answers[key]

    @override
    def forget(self) -> None:
        self._answers.clear()
        self._alone.clear()

    def _keep(self, answers: dict[Argv, CommandResult]) -> None:
        if not self._answers:
            self._since = time.monotonic()
        self._answers |= answers

    def _ask(self, batch: _Batch) -> None:
        known = self._answers.keys() | self._alone
        wanted = {key: argv for key, argv in batch.asked.items() if key not in known}
        if len(wanted) > 1:
            answers = at_once(batch.on, list(wanted.values()))
            found = {each.argv: each for each in answers}
            self._keep(
                {
                    key: replace(found[argv], argv=key, machine=self.machine)
                    for key, argv in wanted.items()
                    if argv in found
                }
            )
            self._alone |= wanted.keys() - self._answers.keys()
