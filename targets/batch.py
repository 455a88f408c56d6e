"""Many reads in one round trip.

Checking a container takes some twenty small reads. Asked one by one, each waits for the last one's
answer, and each starts ``pct``. :class:`Ahead` asks the reads that it was given all at once, when
the first of them is wanted, and answers from that. Any other read is asked by itself: to forget one
costs a round trip, and changes nothing else. :class:`Shared` does so for the many scenarios of a
gate, which ask the same again and again.
"""

from __future__ import annotations

import base64
import re
import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from targets.errors import Dropped, TransportError
from targets.transport import LIMIT, Base, CommandResult, at_most

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from targets.read import Read
    from targets.transport import Hold, Inside, Transport

Argv = tuple[str, ...]

#: Follows each output. An output without it was cut, or ``head`` or ``base64`` failed: it would
#: look like a shorter one, or an empty one.
_END = b"."
#: Runs one command and prints a line: its standard error with ``!exit code!`` somewhere in it, a
#: blank, its standard output, both in base64. Nothing is written to a file on the way.
#: An output lies in the shell's memory: of one that is too long, only so much that this shows.
_ONE = (
    f"\nshort() {{ head -c {LIMIT + 1} | base64 -w0; }}"
    r"""
one() { { out=$( { err=$( { { "$@" </dev/null 2>&1 >&7 7>&- 8>&- 9>&-; printf '!%d!' "$?" >&8
    printf .; printf . >&7; } | short; } 8>&1 ); printf '%s ' "$err" >&9; } 7>&1 | short ); } 9>&1
    echo "$out"; }
"""
)
_LINE = re.compile(rb"^([^ !\n]*)!([0-9]+)!([^ !\n]*) (\S*)$", re.MULTILINE)
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
_NAME = "at once"


def at_once(
    on: Transport, argvs: Sequence[Argv], patience: float = _LONGEST_TRIP
) -> list[CommandResult]:
    """Run commands that only look, one after the other, without input, in one round trip.

    Args:
        on: the machine.
        argvs: the commands.
        patience: for all of them together (seconds); none takes longer than a minute.

    Returns:
        The results of those that ended in time and within ``LIMIT``; none if ``on`` has no shell
        that can do this, or cannot be asked: whoever asks one of them by itself hears why, in the
        words of that one.

    Raises:
        Dropped: the connection was cut: a run that goes on has lost its lock.
    """
    script = _ONE + "".join(f"{_BOUNDED}{_PATIENCE:g} {shlex.join(argv)}\n" for argv in argvs)
    try:
        with at_most(_LONGEST):
            whole = on.look(
                ["sh", "-c", script, _NAME], timeout=min(patience, _PATIENCE * len(argvs))
            )
    except Dropped:
        raise
    except TransportError:
        return []
    return [
        each
        for each in _answers(whole, argvs)
        if each.exit_code not in _LATE and max(len(each.stdout), len(each.stderr)) <= LIMIT
    ]


def told(whole: CommandResult) -> list[CommandResult] | None:
    """Return what such a round trip asked and was answered, for a reader.

    Args:
        whole: of any command, also of one that reaches into a container.

    Returns:
        Each command's result, none if the answers cannot be read; None if it was another command.
    """
    script, name = ("", "", *whole.argv)[-2:]
    if name != _NAME or not script.startswith(_ONE):
        return None
    asked = re.split(rf"^{_BOUNDED}\S+ ", script.removeprefix(_ONE), flags=re.MULTILINE)[1:]
    try:
        return _answers(whole, [tuple(shlex.split(words)) for words in asked])
    except ValueError:  # a line of an argument looked like the next command
        return []


def _answers(whole: CommandResult, argvs: Sequence[Argv]) -> list[CommandResult]:
    """Return each command's whole result; none if the answers cannot be read, whoever sent them."""
    lines = _LINE.findall(whole.stdout)
    if len(lines) != len(argvs) or any(not _is_code(code) for _, code, _, _ in lines):
        return []
    try:
        return _results(whole, argvs, lines)
    except ValueError:  # no base64
        return []


def _is_code(code: bytes) -> bool:
    return len(code) <= len(str(_LAST_CODE)) and int(code) <= _LAST_CODE


def _decoded(text: bytes) -> bytes:
    return base64.b64decode(text, validate=True)


def _results(
    whole: CommandResult, argvs: Sequence[Argv], lines: Sequence[tuple[bytes, bytes, bytes, bytes]]
) -> list[CommandResult]:
    decoded = [
        (argv, int(code), _decoded(out), _decoded(err + more))
        for argv, (err, code, more, out) in zip(argvs, lines, strict=True)
    ]
    return [
        CommandResult(
            argv,
            code,
            out.removesuffix(_END),
            err.removesuffix(_END),
            whole.machine,
            whole.started,
            whole.seconds,
        )
        for argv, code, out, err in decoded
        if out.endswith(_END) and err.endswith(_END)
    ]


class Ahead(Base):
    """Asks all the reads that it was given when the first of them is wanted.

    Answers are forgotten when anything is run that is no read: it may change what they say.

    Args:
        inner: where.
        reads: what will be asked.
        keep: whether an answer may serve again; else each serves once, so that whoever waits for a
            change sees it.
    """

    def __init__(
        self, inner: Transport, reads: Iterable[Read[Any]] = (), *, keep: bool = False
    ) -> None:
        self._inner, self.machine, self._keep = inner, inner.machine, keep
        self._expected: list[Argv] = []
        self._answers: dict[Argv, CommandResult] = {}
        self.expect(reads)

    def expect(self, reads: Iterable[Read[Any]]) -> None:
        """Ask these, too, with the first of them that is wanted."""
        self._answers.clear()
        self._expected = list(dict.fromkeys([*self._expected, *(read.argv for read in reads)]))

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """See :class:`targets.transport.Transport`."""
        self._answers.clear()
        return self._inner.run(argv, stdin=stdin, timeout=timeout)

    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """See :class:`targets.transport.Transport`."""
        key = tuple(argv)
        if not stdin and key in self._expected:
            asked, self._expected = self._expected, []
            answers = at_once(self._inner, asked) if len(asked) > 1 else []
            self._answers = {answer.argv: answer for answer in answers}
        if not stdin and key in self._answers:
            return self._answers[key] if self._keep else self._answers.pop(key)
        return self._inner.look(argv, stdin=stdin, timeout=timeout)

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """See :class:`targets.transport.Transport`."""
        self._answers.clear()
        return self._inner.hold(argv, word)


@dataclass(frozen=True)
class _Batch:
    """Reads of one machine: ``asked`` has each argv as ``on`` knows it, by that of the node."""

    on: Transport
    asked: dict[Argv, Argv]


class Shared(Base):
    """Asks foreseen reads in one round trip a machine, and lets each answer serve several steps.

    An answer serves each step once: a step that asks a second time looks for a change, and the
    machine is asked. All answers are forgotten when anything is run that is no read, on the node or
    in a container, and after :data:`LASTS`.

    Args:
        inner: the node, whose container's commands pass here, too.
    """

    #: How long an answer may serve (seconds).
    LASTS = 60.0

    def __init__(self, inner: Transport) -> None:
        self._inner, self.machine = inner, inner.machine
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
        """Foresee these reads, and no others. What is known already is not asked again.

        Args:
            reads: of the node.
            within: reaches the container from :attr:`inner`.
            inside: reads of the container.
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

    def begin(self) -> None:
        """Begin a step: every answer may serve it once."""
        self._served.clear()

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """See :class:`targets.transport.Transport`."""
        self.forget()
        return self._inner.run(argv, stdin=stdin, timeout=timeout)

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """See :class:`targets.transport.Transport`."""
        self.forget()
        return self._inner.hold(argv, word)

    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """See :class:`targets.transport.Transport`."""
        key = tuple(argv)
        batch = next((each for each in self._batches if key in each.asked), None)
        if self._learning and batch is None:
            self._learned.add(key)
        if stdin or (batch is None and key not in self._learned):
            return self._inner.look(argv, stdin=stdin, timeout=timeout)
        if self._answers and time.monotonic() > self._since + self.LASTS:
            self._answers.clear()
        if batch and not {key} & (self._served | self._answers.keys() | self._alone):
            self._ask(batch)
        if key in self._served or key not in self._answers:
            self._answers.pop(key, None)
            self._keep({key: self._inner.look(argv, timeout=timeout)})
        self._served.add(key)
        return self._answers[key]

    def forget(self) -> None:
        """Forget all answers: something may have changed."""
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
