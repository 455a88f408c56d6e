"""Child processes on this machine, with limits on time and output.

Every child runs in a session of its own, without a controlling terminal. Otherwise a process in a
container could type into the administrator's terminal (TIOCSTI). Source: setsid(2), ioctl_tty(2).
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.machines.child import RELEASE_TIMEOUT, Answer, Late, TooMuch, Until

if TYPE_CHECKING:
    from types import FrameType

#: Before argv, by util-linux: the kernel kills it when its parent ends, however that ends.
ENDS_WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "KILL")
#: What a program that reads foreign bytes may take: memory (bytes), and the processor (seconds).
MEMORY, SECONDS = 1 << 30, 20
_CHUNK = 1 << 16
_POLL = 0.02
_TURNS = 16
#: How long a shell whose pipes are closed may take to end (seconds).
_MOMENT = 1.0

#: These end a program: all that it started ends first.
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Those that came.
_CAME: list[int] = []
#: Standard error when they were taken over: pytest puts a file in its place, and one that is closed
#: may be a connection by now.
_STDERR: list[int] = []


def _interrupt(number: int, _: FrameType | None) -> None:
    """Raise KeyboardInterrupt, once: a second signal must not cut off what the first one ends."""
    _CAME.append(number)
    if len(_CAME) == 1:
        raise KeyboardInterrupt
    say_later(number)


def say_later(number: int) -> None:
    """Print that the program ends only when it has cleaned up; safe in a signal handler."""
    line = (
        f"… {signal.Signals(number).name}: this ends when what was begun is rolled back or ended "
        f"(kill -KILL {os.getpid()} ends it now, and leaves it as it is)\n"
    )
    with suppress(OSError):  # a terminal that is gone
        for descriptor in _STDERR:
            os.write(descriptor, line.encode())


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP raise KeyboardInterrupt, unless it is ignored."""
    stderr = [os.dup(2)] if sys.__stderr__ else []  # else 2 is closed
    _STDERR[:] = stderr
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: how for number in _INTERRUPTS if (how := signal.getsignal(number)) in usual}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _STDERR.clear()
        for descriptor in stderr:
            os.close(descriptor)


def interrupted_by() -> int:
    """Return the exit code of a program that SIGTERM or SIGHUP ended, as in a shell; else 0."""
    return 128 + _CAME[0] if _CAME and _CAME[0] != signal.SIGINT else 0


@contextmanager
def uninterrupted(say: Callable[[int], None] = lambda _: None) -> Iterator[None]:
    """Delay SIGINT, SIGTERM and SIGHUP until the end of the context.

    An interrupt in the middle of a process's start would leave it running, and no terminal would
    end it. The handler calls ``say`` with the number of a signal that came.
    """
    handlers = {number: signal.getsignal(number) for number in _INTERRUPTS}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    if _CAME or threading.current_thread() is not threading.main_thread():
        before = {}  # nothing interrupts what ends already, nor what runs beside the main thread
    came: list[tuple[int, FrameType | None]] = []

    def later(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        say(number)

    for interrupt in before:
        signal.signal(interrupt, later)
    try:
        yield
    finally:
        for interrupt, handler in before.items():
            signal.signal(interrupt, handler)
        for number, frame in came[:1]:
            before[signal.Signals(number)](number, frame)


def limited(*argv: str) -> list[str]:
    """Return argv for a program that may be slow or large because of what it reads.

    Limits are part of argv, since between fork and exec Python could deadlock, and since a node
    keeps them, too. Source: setpriv(1), prlimit(1).
    """
    limits = (f"--cpu={SECONDS}", f"--as={MEMORY}", "--core=0")
    return [*ENDS_WITH_ITS_PARENT, "prlimit", *limits, "--", *argv]


class Process:
    """A process on this machine, in a session of its own: a child of a machine.

    To start it raises OSError.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            list(argv), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )

    def exchange(
        self, line: bytes, deadline: float, limit: int, until: Until | None = None
    ) -> tuple[bytes, bytes]:
        """See :class:`docker_lxc_gate.machines.child.Child`."""
        out, err, rest = bytearray(), bytearray(), _Rest(line)
        with selectors.DefaultSelector() as waiting:
            for stream, output in ((self._child.stdout, out), (self._child.stderr, err)):
                if not _there(stream).closed:
                    heard = partial(_heard, output=output, limit=limit)
                    waiting.register(_there(stream), selectors.EVENT_READ, heard)
            given = _there(self._child.stdin)
            os.set_blocking(given.fileno(), False)
            waiting.register(given, selectors.EVENT_WRITE, rest.sent)
            while waiting.get_map() and not (until and until(out, err)):
                if (left := deadline - time.monotonic()) <= 0:
                    raise Late
                for key, _ in waiting.select(left):
                    if key.data(key.fd):
                        continue
                    waiting.unregister(key.fileobj)
                    if key.fileobj is not given or until is None:
                        _there(key.fileobj).close()
        return bytes(out), bytes(err)

    def converse(self, stdin: bytes, deadline: float, limit: int) -> Answer:
        """See :class:`docker_lxc_gate.machines.child.Child`."""
        outputs = self.exchange(stdin, deadline, limit)
        try:
            code = self._child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise Late from error
        return code if code >= 0 else 128 - code, *outputs

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def release(self) -> None:
        """End its input and wait for its end."""
        with suppress(subprocess.TimeoutExpired):
            self._child.communicate(timeout=RELEASE_TIMEOUT)

    def hang_up(self) -> None:
        """Close a shell's input and outputs, and wait a moment for its end; then terminate it."""
        self._close()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_MOMENT)
            return
        end_group(self._child, _MOMENT)

    def end(self, patience: float) -> None:
        """Terminate it with SIGTERM, which ``timeout`` passes on; then kill its group.

        If it has ended, the signals go to the processes that hold its outputs open. Their output is
        read and discarded, so that none blocks on a full pipe. Between SIGTERM and SIGKILL pass
        ``patience`` seconds at most.
        """
        outputs = (self._child.stdout, self._child.stderr)
        streams = [output for output in outputs if output and not output.closed]
        for stream in streams:
            os.set_blocking(stream.fileno(), False)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):  # sudo's process is root's
                if number == signal.SIGTERM and not self._ended():
                    os.kill(self._child.pid, number)
                else:
                    os.killpg(self._child.pid, number)
            last = time.monotonic() + patience
            while (streams or not self._ended()) and time.monotonic() < last:
                streams = [stream for stream in streams if not _drained(stream.fileno())]
                time.sleep(_POLL)
            if not streams and self._ended():
                break
        with suppress(subprocess.TimeoutExpired):  # root's, which ends at its own deadline
            self._child.wait(patience)
        self._close()

    def end_group(self) -> None:
        """As the function: another thread may read its output and wait for it."""
        end_group(self._child)

    def _ended(self) -> bool:
        """Whether it ended. It is not reaped, so that its group id is not reused."""
        if self._child.returncode is not None:
            return True
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._child.pid, how) is not None

    def _close(self) -> None:
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            with suppress(OSError):  # input that it did not read
                _there(stream).close()


class _Rest:
    """What a process has still to be fed."""

    def __init__(self, stdin: bytes) -> None:
        self._rest = memoryview(stdin)

    def sent(self, descriptor: int) -> bool:
        """Write what fits; return whether there is more. What nobody reads is dropped."""
        with suppress(BlockingIOError):
            try:
                self._rest = self._rest[os.write(descriptor, self._rest[:_CHUNK]) :]
            except BrokenPipeError:
                self._rest = self._rest[:0]
        return bool(self._rest)


def _there(stream: Any) -> Any:
    if stream is None:
        raise TypeError("a process without its pipes")
    return stream


def _heard(descriptor: int, output: bytearray, limit: int) -> bool:
    """Append the available output; return False at its end."""
    chunk = os.read(descriptor, _CHUNK)
    output += chunk
    if len(output) > limit:
        raise TooMuch
    return bool(chunk)


def end_group(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """Terminate a group's processes, which then remove what they made; then kill them.

    Between the two pass ``patience`` seconds at most. Another thread may read its output and wait
    for it.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):  # sudo's process is root's
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _drained(descriptor: int) -> bool:
    """Discard the available output; return whether that was its end."""
    try:
        for _ in range(_TURNS):  # bounded, so that the caller checks the deadline in between
            if not os.read(descriptor, _CHUNK):
                return True
    except BlockingIOError:
        pass
    return False
