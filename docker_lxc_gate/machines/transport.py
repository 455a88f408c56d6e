"""Running argv and moving bytes on one machine.

A transport is anything with ``run``, ``look`` and ``write``: the first may change something, the
second never does, and ``ask`` and ``read`` are made of it. :class:`Ssh` reaches a machine
through paramiko, :class:`Local` is the machine itself, and a :class:`Layer` wraps any of them:
:class:`Inside` reaches a container (see :mod:`docker_lxc_gate.machines.runtime.base`).
"""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Protocol, TypeVar

from typing_extensions import override

from docker_lxc_gate.errors import LimitExceeded, TransportError, misheard, too_late, too_much
from docker_lxc_gate.machines import process
from docker_lxc_gate.machines.read import Read, content_of
from docker_lxc_gate.machines.result import CommandFailed, CommandResult

T = TypeVar("T")

#: Names this process among those that work on a node: every command there carries it.
RUN_MARK, RUN_ID = "DOCKER_LXC_GATE_RUN", uuid.uuid4().hex

#: Written by position, so that no path or content ever becomes part of a shell's text. fsync before
#: rename, and of the directory after it: a crash leaves the old file or the new.
_WRITE = (
    'set -e; new="$1.gate-new"; umask 077; cat >"$new"; chmod "$2" "$new"; sync "$new"; '
    'mv -fT -- "$new" "$1"; sync "$(dirname -- "$1")"'
)
#: How long each output of a command may be, unless its caller says otherwise (bytes).
LIMIT = 1 << 20
_limit: ContextVar[int] = ContextVar("limit", default=LIMIT)
#: How long a held command may take to begin; and, once released, to end: it may have to wait
#: for another one (seconds).
HOLD_TIMEOUT, RELEASE_TIMEOUT = 60.0, 3600.0


class Transport:
    """Runs argv and moves bytes on one machine: all in terms of ``run``, one round trip each."""

    #: What a reader calls the machine.
    machine = ""

    @property
    def host_key(self) -> str:
        """Kind and fingerprint of the key that the machine showed; empty if it showed none."""
        return ""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> CommandResult:
        """Run argv without a shell, and return the result, whatever the exit code.

        ``stdin`` are bytes for its standard input, which is then closed; after ``timeout`` seconds
        it is given up and ended.

        Raises LimitExceeded if it was ended at its deadline, what it left open included, or since
        an output was longer than ``LIMIT`` (see :func:`at_most`), and TransportError if it could
        not be run, or nobody can say how it ended.
        """
        raise NotImplementedError

    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60
    ) -> CommandResult:
        """Run argv that changes nothing; else as :meth:`run`.

        Whoever wraps a transport may ask it together with other looks, or count it as no change.
        """
        return self.run(argv, stdin=stdin, timeout=timeout)

    def ask(self, read: Read[T]) -> T:
        """Return what a read's command answers, parsed; raises as :meth:`look` and its parser."""
        with nullcontext() if read.limit is None else at_most(read.limit):
            return read.parse(self.look(read.argv, timeout=read.timeout))

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if it is absent; unreadable raises CommandFailed."""
        return self.ask(content_of(path))

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Replace a file's content atomically: the old one or the new one, never half."""
        self.run(["sh", "-c", _WRITE, "write", path, f"{mode:o}"], stdin=content).require()

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """Start a command that says one word and runs until its standard input ends.

        Its input ends when it is released, and also when this program or the connection is gone:
        the far side notices, whatever has become of us. The ``word`` is the line that it says when
        it has begun; after any other it is ended. Raises CommandFailed if it ended instead, and
        TransportError if it could not be run, said something else, or said nothing in time.
        """
        raise NotImplementedError

    def watch(self, argv: Sequence[str], word: str) -> Hold:
        """Start a command that only notes what it sees; else as :meth:`hold`."""
        return self.hold(argv, word)


class Hold(Protocol):
    """A command that is running."""

    def alive(self) -> bool:
        """Whether it still runs and can still be reached."""

    def release(self) -> None:
        """End its input and wait for its end; a dead one is released already."""


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let each output of a command in the context be ``size`` bytes long, instead of ``LIMIT``.

    What a guest says lies in the memory of whoever asks.
    """
    token = _limit.set(size)
    try:
        yield
    finally:
        _limit.reset(token)


def limit() -> int:
    """Return how long each output of a command may be here (bytes)."""
    return _limit.get()


class Child(Hold, Protocol):
    """A command that was started."""

    def first_line(self, deadline: float) -> bytes:
        """Return its first line with its line feed, or its output if it ended without one."""

    def converse(self, stdin: bytes, deadline: float) -> tuple[int, bytes, bytes]:
        """Feed it, read both outputs to their end, and return them after its exit code."""


class Machine(Transport):
    """A machine that commands are started on, directly or over a connection."""

    def _started(
        self, argv: Sequence[str], timeout: float, late: TransportError
    ) -> AbstractContextManager[Child]:
        """Start a command; it is ended, and ``late`` raised, if its time passes in the context."""
        raise NotImplementedError

    @override
    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> CommandResult:
        started, clock = time.time(), time.monotonic()
        late = too_late(self.machine, argv, timeout)
        with self._started(argv, timeout, late) as child:
            answer = child.converse(stdin, clock + timeout)
        seconds = time.monotonic() - clock
        return CommandResult(tuple(argv), *answer, self.machine, started, seconds)

    @override
    def hold(self, argv: Sequence[str], word: str) -> Hold:
        started, clock = time.time(), time.monotonic()
        late = misheard(self.machine, argv, word, HOLD_TIMEOUT)
        with self._started(argv, HOLD_TIMEOUT, late) as child:
            line = child.first_line(clock + HOLD_TIMEOUT)
            if line == f"{word}\n".encode():
                return child
            code, out, err = child.converse(b"", clock + HOLD_TIMEOUT)
        if b"\n" in line:
            raise misheard(self.machine, argv, word, HOLD_TIMEOUT, line)
        seconds = time.monotonic() - clock
        raise CommandFailed(
            CommandResult(tuple(argv), code, line + out, err, self.machine, started, seconds)
        )


class Local(Machine):
    """This machine itself. A terminal's Ctrl-C reaches no command: it ends when we let go."""

    machine = "localhost"

    @override
    @contextmanager
    def _started(
        self, argv: Sequence[str], timeout: float, late: TransportError
    ) -> Iterator[Child]:
        child: subprocess.Popen[bytes] | None = None
        try:
            with process.uninterrupted():
                child = process.start(argv)
            yield _Process(child)
        except BaseException as error:  # Ctrl-C, too: nothing works on behind our back
            if child is not None:
                process.end(child, 2 * Inside.GRACE)
            if isinstance(error, process.TooMuch):
                raise too_much(self.machine, argv, limit()) from error
            if isinstance(error, TimeoutError) and child is not None:
                raise late from error
            if isinstance(error, OSError):
                raise TransportError(f"on {self.machine}: cannot run {argv[0]}: {error}") from error
            raise


class _Process:
    """A command on this machine."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._process = child

    def first_line(self, deadline: float) -> bytes:
        return process.first_line(self._process, deadline=deadline)

    def converse(self, stdin: bytes, deadline: float) -> tuple[int, bytes, bytes]:
        out, err = process.converse(self._process, stdin, deadline=deadline, limit=limit())
        code = self._process.returncode
        return code if code >= 0 else 128 - code, out, err

    def alive(self) -> bool:
        return self._process.poll() is None

    def release(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=RELEASE_TIMEOUT)


class Layer(Transport):
    """A transport wrapped in a transport: everything is passed on."""

    def __init__(self, inner: Transport, machine: str = "") -> None:
        self._inner, self.machine = inner, machine or inner.machine

    @property
    @override
    def host_key(self) -> str:
        return self._inner.host_key

    def forget(self) -> None:
        """Forget all answers that this layer keeps: the next command may change what they say."""

    @override
    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> CommandResult:
        self.forget()
        return self._passed(self._inner.run, argv, stdin, timeout)

    @override
    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60
    ) -> CommandResult:
        return self._passed(self._inner.look, argv, stdin, timeout)

    def _passed(
        self, on: Callable[..., CommandResult], argv: Sequence[str], stdin: bytes, timeout: float
    ) -> CommandResult:
        """Pass a command on to the inner ``run`` or ``look``."""
        return on(argv, stdin=stdin, timeout=timeout)

    @override
    def hold(self, argv: Sequence[str], word: str) -> Hold:
        self.forget()
        return self._inner.hold(argv, word)

    @override
    def watch(self, argv: Sequence[str], word: str) -> Hold:
        return self._inner.watch(argv, word)


class Inside(Layer):
    """Another machine, through a transport: only argv is rewritten.

    ``wrap`` turns an inner argv, its deadline included, into an outer argv; ``examine``, given the
    outer result, raises TransportError if the inner command did not run. If ``marked``, the process
    that keeps the deadline carries ``RUN_ID`` in its argv, so that what a killed run left behind
    can be told from everything else.
    """

    #: ``timeout -k`` ends the command this long after it was asked to end (seconds).
    GRACE = 5.0

    def __init__(
        self,
        outer: Transport,
        machine: str,
        wrap: Callable[[Sequence[str]], list[str]],
        examine: Callable[[CommandResult], None],
        *,
        marked: bool = False,
    ) -> None:
        super().__init__(outer, machine)
        self._wrap, self._examine = wrap, examine
        self._mark = ["env", f"{RUN_MARK}={RUN_ID}"] if marked else []

    def outer(self, argv: Sequence[str], timeout: float = 60) -> list[str]:
        """Return the argv that is run outside, with the deadline that is kept inside.

        Ending the outer command leaves the inner one running (pct, lxc-attach and sshd all do).
        """
        deadline = ["timeout", "-k", f"{self.GRACE:g}", f"{timeout:g}"]
        return self._wrap([*deadline, *self._mark, *argv])

    @override
    def _passed(
        self, on: Callable[..., CommandResult], argv: Sequence[str], stdin: bytes, timeout: float
    ) -> CommandResult:
        """Run argv with its deadline, which is kept inside as well."""
        late = too_late(self.machine, argv, timeout)
        clock = time.monotonic()
        try:
            outer = on(self.outer(argv, timeout), stdin=stdin, timeout=timeout + 4 * self.GRACE)
        except LimitExceeded as error:
            if error.late:
                raise late from None
            raise LimitExceeded(self.machine, argv, error.passed, late=False) from None
        except TransportError as error:
            # timeout's last resort ends itself, too: SSH then knows of no exit status.
            if time.monotonic() - clock >= timeout:
                raise late from error
            raise
        if outer.exit_code in {124, 137} and outer.seconds >= timeout:
            raise late
        self._examine(outer)
        return replace(outer, argv=tuple(argv), machine=self.machine)

    @override
    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """Hold it without a deadline."""
        return super().hold(self._wrap(argv), word)

    @override
    def watch(self, argv: Sequence[str], word: str) -> Hold:
        return super().watch(self._wrap(argv), word)


class Recorded(Layer):
    """Tells a listener of each command: this is the evidence. A held command is none."""

    def __init__(self, inner: Transport, listener: Callable[[CommandResult], None]) -> None:
        super().__init__(inner)
        self._listener = listener

    @override
    def _passed(
        self, on: Callable[..., CommandResult], argv: Sequence[str], stdin: bytes, timeout: float
    ) -> CommandResult:
        result = super()._passed(on, argv, stdin, timeout)
        self._listener(result)
        return result
