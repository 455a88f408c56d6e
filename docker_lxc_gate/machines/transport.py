"""Running argv and moving bytes on one machine.

``run`` may change something and ``look`` never does; ``ask`` and ``read`` are made of ``look``.
Each is a :class:`Command`, which goes through one method, ``execute``. :class:`Ssh` reaches a
machine through paramiko, :class:`Local` is the machine itself, and a :class:`Layer` wraps any of
them: :class:`Inside` reaches a container (see :mod:`docker_lxc_gate.machines.runtime.base`). Each
command that may change something is a process of its own. Looks go to a shell that stays open
(:mod:`docker_lxc_gate.machines.shell`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from docker_lxc_gate.errors import LimitExceeded, TransportError, misheard, too_late, too_much
from docker_lxc_gate.machines import process, shell
from docker_lxc_gate.machines.child import Late, TooMuch
from docker_lxc_gate.machines.read import Read, content_of
from docker_lxc_gate.machines.result import CommandFailed, CommandResult

if TYPE_CHECKING:
    from docker_lxc_gate.machines.child import Answer, Child, Hold

T = TypeVar("T")

#: Names this process among those that work on a node: every command there carries it.
RUN_MARK, RUN_ID = "DOCKER_LXC_GATE_RUN", uuid.uuid4().hex

#: How long each output of a command may be, unless its caller says otherwise (bytes): what a guest
#: says lies in the memory of whoever asks.
LIMIT = 1 << 20
#: As ``timeout`` ends if the time has passed.
_LATE = frozenset({124, 137})
#: How long a held command may take to begin (seconds).
HOLD_TIMEOUT = 60.0


@dataclass(frozen=True)
class Command:
    """A command for a machine; ``changes`` is whether it may change something.

    ``via`` is the argv that leads from here to the machine on which a look runs, as in
    ``lxc-attach -n 950 --``: each has a shell of its own.
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    timeout: float = 60
    limit: int = LIMIT
    changes: bool = True
    via: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The whole argv, as a process of its own is started with."""
        return (*self.via, *self.argv)


class Transport:
    """Runs argv and moves bytes on one machine: all in terms of ``execute``."""

    #: What a reader calls the machine.
    machine = ""

    @property
    def host_key(self) -> str:
        """Kind and fingerprint of the key that the machine showed; empty if it showed none."""
        return ""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60, limit: int = LIMIT
    ) -> CommandResult:
        """Run argv without a shell, and return the result, whatever the exit code.

        ``stdin`` are bytes for its standard input, which is then closed; after ``timeout`` seconds
        it is given up and ended. Each of its outputs has ``limit`` bytes at most.

        Raises LimitExceeded if it was ended at its deadline, what it left open included, or since
        an output was too long, and TransportError if it could not be run, or nobody can say how it
        ended.
        """
        return self.execute(Command(tuple(argv), stdin, timeout, limit))

    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60, limit: int = LIMIT
    ) -> CommandResult:
        """Run argv that changes nothing; else as :meth:`run`.

        It may be asked once more if its shell had ended.
        """
        return self.execute(Command(tuple(argv), stdin, timeout, limit, changes=False))

    def execute(self, command: Command) -> CommandResult:
        """Run a command; see :meth:`run` and :meth:`look`. A layer changes it and passes it on."""
        raise NotImplementedError

    def ask(self, read: Read[T]) -> T:
        """Return what a read's command answers, parsed; raises as :meth:`look` and its parser."""
        limit = LIMIT if read.limit is None else read.limit
        return read.parse(self.look(read.argv, timeout=read.timeout, limit=limit))

    def read(self, path: str, *, limit: int = LIMIT) -> bytes | None:
        """Return a file's content, or None if it is absent; unreadable raises CommandFailed."""
        return self.ask(replace(content_of(path), limit=limit))

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """Start a command that says one word and runs until its standard input ends.

        Its input ends when it is released, and also when this program or the connection is gone:
        the far side notices, whatever has become of us. The ``word`` is the line that it says when
        it has begun; after any other it is ended. Raises CommandFailed if it ended instead, and
        TransportError if it could not be run, said something else, or said nothing in time.
        """
        raise NotImplementedError


class Machine(Transport):
    """A machine that commands are started on, directly or over a connection."""

    def __init__(self) -> None:
        #: The open shells by the argv that leads to them, the one that was used last at the end.
        self._shells: dict[tuple[str, ...], shell.Shell] = {}

    def close(self) -> None:
        """End the open shells; the next look opens a new one."""
        while self._shells:
            self._shells.popitem()[1].child.hang_up()

    def _started(
        self, argv: Sequence[str], timeout: float, child: Child | None
    ) -> AbstractContextManager[Child]:
        """Start a command, or go on with ``child``; it is ended if the context raises."""
        raise NotImplementedError

    @contextmanager
    def _working(
        self,
        argv: Sequence[str],
        timeout: float,
        limit: int,
        late: TransportError,
        child: Child | None = None,
    ) -> Iterator[Child]:
        """As :meth:`_started`; raises ``late`` if its time passes, LimitExceeded if it floods."""
        try:
            with self._started(argv, timeout, child) as begun:
                yield begun
        except TooMuch as error:
            raise too_much(self.machine, argv, limit) from error
        except Late as error:
            raise late from error

    @override
    def execute(self, command: Command) -> CommandResult:
        words, timeout = command.words, command.timeout
        late = too_late(self.machine, words, timeout)
        started, clock = time.time(), time.monotonic()
        if command.changes or command.stdin or not command.via or timeout > shell.LONGEST:
            with self._working(words, timeout, command.limit, late) as child:
                answer = child.converse(command.stdin, clock + timeout, command.limit)
        else:
            answer = self._answer(command, late)
        seconds = time.monotonic() - clock
        if answer[0] in _LATE and seconds >= timeout:
            raise late
        return CommandResult(words, *answer, self.machine, started, seconds)

    def _answer(self, look: Command, late: TransportError) -> Answer:
        """Return exit code and outputs of a look, from the shell behind ``via``.

        A shell ends with its container, or when the node ends it. Then a new one is asked, once.
        """
        via, timeout, limit = look.via, look.timeout, look.limit

        def ask(one: shell.Shell) -> Answer | None:
            with self._working(look.words, timeout, limit, late, one.child):
                return one.ask(look.argv, timeout, limit)

        if kept := self._shells.pop(via, None):
            if not kept.is_spoilt and (answer := ask(kept)):
                self._keep(via, kept)
                return answer
            kept.child.hang_up()
        with self._working((*via, "sh"), timeout, limit, late) as child:
            new = shell.Shell(child)
        if answer := ask(new):
            self._keep(via, new)
            return answer
        with self._working(look.words, timeout, limit, late, new.child):
            return new.last_words(limit)

    def _keep(self, via: tuple[str, ...], used: shell.Shell) -> None:
        """Keep a shell open, and close the one that was used longest ago if there are too many."""
        self._shells[via] = used
        while len(self._shells) > shell.MOST:
            self._shells.pop(next(iter(self._shells))).child.hang_up()

    @override
    def hold(self, argv: Sequence[str], word: str) -> Hold:
        started, clock = time.time(), time.monotonic()
        deadline = clock + HOLD_TIMEOUT
        late = misheard(self.machine, argv, word, HOLD_TIMEOUT)
        with self._working(argv, HOLD_TIMEOUT, LIMIT, late) as child:
            line, stderr = child.exchange(b"", deadline, LIMIT, lambda out, _: b"\n" in out)
            if line == f"{word}\n".encode():
                return child
            code, out, err = child.converse(b"", deadline, LIMIT)
        if b"\n" in line:
            raise misheard(self.machine, argv, word, HOLD_TIMEOUT, line)
        answer, seconds = (code, line + out, stderr + err), time.monotonic() - clock
        raise CommandFailed(CommandResult(tuple(argv), *answer, self.machine, started, seconds))


class Local(Machine):
    """This machine itself. A terminal's Ctrl-C reaches no command: it ends when we let go."""

    machine = "localhost"

    @override
    @contextmanager
    def _started(self, argv: Sequence[str], timeout: float, child: Child | None) -> Iterator[Child]:
        begun: process.Process | None = None
        try:
            if child:
                yield child
                return
            with process.uninterrupted():
                begun = process.Process(argv)
            yield begun
        except BaseException as error:  # Ctrl-C, too: nothing works on behind our back
            if begun:
                begun.end(2 * Inside.GRACE)
            elif child:
                child.hang_up()
            if isinstance(error, OSError):
                raise TransportError(f"on {self.machine}: cannot run {argv[0]}: {error}") from error
            raise


class Layer(Transport):
    """A transport wrapped in a transport: everything is passed on."""

    def __init__(self, inner: Transport, machine: str = "") -> None:
        self._inner, self.machine = inner, machine or inner.machine

    @property
    @override
    def host_key(self) -> str:
        return self._inner.host_key

    @override
    def execute(self, command: Command) -> CommandResult:
        return self._inner.execute(command)

    @override
    def hold(self, argv: Sequence[str], word: str) -> Hold:
        return self._inner.hold(argv, word)


class Inside(Layer):
    """Another machine, through a transport: only argv is rewritten.

    ``prefix`` is the argv that leads to it, as in ``lxc-attach -n 950 --``; ``examine``, given the
    outer result, raises TransportError if the inner command did not run. If ``marked``, the process
    that keeps a command's deadline carries ``RUN_ID`` in its argv, so that what a killed run left
    behind can be told from everything else, and its shell ends by itself.
    """

    #: ``timeout -k`` ends the command this long after it was asked to end (seconds).
    GRACE = 5.0

    def __init__(
        self,
        outer: Transport,
        machine: str,
        prefix: Sequence[str] = (),
        examine: Callable[[CommandResult], None] = lambda _: None,
        *,
        marked: bool = False,
    ) -> None:
        super().__init__(outer, machine)
        self._prefix, self._examine = tuple(prefix), examine
        self._mark = ("env", f"{RUN_MARK}={RUN_ID}", "LC_ALL=C.UTF-8") if marked else ()
        # Not in a command's order: the lock waits for commands, and not for a shell.
        self._shell = (*self._prefix, *self._mark, *(_deadline(shell.LASTS) if marked else ()))

    @override
    def execute(self, command: Command) -> CommandResult:
        """Run a command with its deadline, which is kept inside as well.

        Ending the outer command leaves the inner one running (pct, lxc-attach and sshd all do).
        Errors of the outer command name the inner one.
        """
        late = too_late(self.machine, command.words, command.timeout)
        clock = time.monotonic()
        try:
            outer = self._inner.execute(self._outer(command))
        except LimitExceeded as error:
            if error.late:
                raise late from None
            raise LimitExceeded(self.machine, command.words, error.passed, late=False) from None
        except TransportError as error:
            # timeout's last resort ends itself, too: SSH then knows of no exit status.
            if time.monotonic() - clock >= command.timeout:
                raise late from error
            raise
        if outer.exit_code in _LATE and outer.seconds >= command.timeout:
            raise late
        self._examine(outer)
        return replace(outer, argv=command.words, machine=self.machine)

    def _outer(self, command: Command) -> Command:
        """Return the command that runs this one from outside: looks go to a shell there."""
        if command.changes or command.stdin:
            bounded = (*_deadline(command.timeout), *self._mark, *command.words)
            longer = command.timeout + 4 * self.GRACE
            return replace(command, argv=(*self._prefix, *bounded), timeout=longer, via=())
        # The node's shell has a deadline of its own, which spares it a program a look.
        bounded = command.argv if self._mark else (*_deadline(command.timeout), *command.argv)
        return replace(command, argv=bounded, via=(*self._shell, *command.via))

    @override
    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """Hold it without a deadline."""
        return self._inner.hold([*self._prefix, *argv], word)


def _deadline(seconds: float) -> tuple[str, ...]:
    return ("timeout", "-k", f"{Inside.GRACE:g}", f"{seconds:g}")


class Recorded(Layer):
    """Tells a listener of each command: this is the evidence. A held command is none."""

    def __init__(self, inner: Transport, listener: Callable[[CommandResult], None]) -> None:
        super().__init__(inner)
        self._listener = listener

    @override
    def execute(self, command: Command) -> CommandResult:
        result = self._inner.execute(command)
        self._listener(result)
        return result
