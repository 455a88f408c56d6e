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

if TYPE_CHECKING:
    from types import FrameType

#: Before argv, by util-linux: the kernel kills it when its parent ends, however that ends.
ENDS_WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "KILL")
#: What a program that reads foreign bytes may take: memory (bytes), and the processor (seconds).
MEMORY, SECONDS = 1 << 30, 20
_CHUNK = 1 << 16
_POLL = 0.02
_TURNS = 16


class TooMuch(Exception):
    """An output is longer than its limit."""

    def __str__(self) -> str:
        return "its output is too long"


class Late(Exception):
    """A deadline has passed."""


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
        for each in _STDERR:
            os.write(each, line.encode())


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP raise KeyboardInterrupt, unless it is ignored."""
    stderr = [os.dup(2)] if sys.__stderr__ else []  # else 2 is closed
    _STDERR[:] = stderr
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {each: how for each in _INTERRUPTS if (how := signal.getsignal(each)) in usual}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _STDERR.clear()
        for each in stderr:
            os.close(each)


def interrupted_by() -> int:
    """Return the exit code of a program that SIGTERM or SIGHUP ended, as in a shell; else 0."""
    return 128 + _CAME[0] if _CAME and _CAME[0] != signal.SIGINT else 0


@contextmanager
def uninterrupted(say: Callable[[int], None] = lambda _: None) -> Iterator[None]:
    """Delay SIGINT, SIGTERM and SIGHUP until the end of the context.

    An interrupt in the middle of a process's start would leave it running, and no terminal would
    end it. The handler calls ``say`` with the number of a signal that came.
    """
    handlers = {each: signal.getsignal(each) for each in _INTERRUPTS}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    if _CAME or threading.current_thread() is not threading.main_thread():
        before = {}  # nothing interrupts what ends already, nor what runs beside the main thread
    came: list[tuple[int, FrameType | None]] = []

    def later(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        say(number)

    for each in before:
        signal.signal(each, later)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number, frame in came[:1]:
            before[signal.Signals(number)](number, frame)


def limited(*argv: str) -> list[str]:
    """Return argv for a program that may be slow or large because of what it reads.

    Limits are part of argv, since between fork and exec Python could deadlock, and since a node
    keeps them, too. Source: setpriv(1), prlimit(1).
    """
    limits = (f"--cpu={SECONDS}", f"--as={MEMORY}", "--core=0")
    return [*ENDS_WITH_ITS_PARENT, "prlimit", *limits, "--", *argv]


def start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process with three pipes, in a session of its own; raises OSError."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        list(argv), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )


def converse(
    process: subprocess.Popen[bytes], stdin: bytes, *, deadline: float, limit: int
) -> tuple[bytes, bytes]:
    """Feed a process, read both its outputs to their end, and return them after its exit.

    The ``deadline`` is on the monotonic clock (seconds), the ``limit`` is each output's (bytes).
    Raises Late if the process, or another one that holds its outputs open, did not end in time, and
    TooMuch if an output is longer.
    """
    outputs = exchange(process, stdin, deadline=deadline, limit=limit)
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise Late from error
    return outputs


def exchange(
    process: subprocess.Popen[bytes],
    stdin: bytes,
    *,
    deadline: float,
    limit: int,
    until: Callable[[bytearray, bytearray], bool] | None = None,
) -> tuple[bytes, bytes]:
    """Feed a process and return both its outputs, when ``until`` accepts them, or at their end.

    Its input stays open for more if there is an ``until``. Raises as :func:`converse`.
    """
    out, err, rest = bytearray(), bytearray(), _Rest(stdin)
    with selectors.DefaultSelector() as waiting:
        for stream, said in ((process.stdout, out), (process.stderr, err)):
            if not _there(stream).closed:
                heard = partial(_heard, said=said, limit=limit)
                waiting.register(_there(stream), selectors.EVENT_READ, heard)
        given = _there(process.stdin)
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


def first_line(process: subprocess.Popen[bytes], *, deadline: float) -> bytes:
    """Return a process's first line with its line feed, or its output if it ended without one.

    Raises Late if neither came in time.
    """
    said, stream = bytearray(), _there(process.stdout)
    with selectors.DefaultSelector() as streams:
        streams.register(stream, selectors.EVENT_READ)
        while b"\n" not in said and len(said) < _CHUNK:
            left = deadline - time.monotonic()
            if left <= 0 or not streams.select(left):
                raise Late
            if not (chunk := os.read(stream.fileno(), _CHUNK)):
                break
            said += chunk
    return bytes(said)


def _there(stream: Any) -> Any:
    if stream is None:
        raise TypeError("a process without its pipes")
    return stream


def _heard(descriptor: int, said: bytearray, limit: int) -> bool:
    """Append the available output; return False at its end."""
    chunk = os.read(descriptor, _CHUNK)
    said += chunk
    if len(said) > limit:
        raise TooMuch
    return bool(chunk)


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Terminate a process with SIGTERM, which ``timeout`` passes on; then kill its group.

    If the process has ended, the signals go to the processes that hold its outputs open. Their
    output is read and discarded, so that none blocks on a full pipe. Between SIGTERM and SIGKILL
    pass ``patience`` seconds at most.
    """
    streams = [each for each in (process.stdout, process.stderr) if each and not each.closed]
    for stream in streams:
        os.set_blocking(stream.fileno(), False)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):  # sudo's process is root's
            if number == signal.SIGTERM and not _ended(process):
                os.kill(process.pid, number)
            else:
                os.killpg(process.pid, number)
        last = time.monotonic() + patience
        while (streams or not _ended(process)) and time.monotonic() < last:
            streams = [each for each in streams if not _drained(each.fileno())]
            time.sleep(_POLL)
        if not streams and _ended(process):
            break
    with suppress(subprocess.TimeoutExpired):  # root's, which ends at its own deadline
        process.wait(patience)
    for each in (process.stdin, process.stdout, process.stderr):
        if each is not None:
            with suppress(OSError):  # input that it did not read
                each.close()


def hang_up(process: subprocess.Popen[bytes]) -> None:
    """Close a shell's input and outputs, and wait a moment for its end; then terminate it."""
    for stream in (process.stdin, process.stdout, process.stderr):
        _there(stream).close()
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):  # sudo's process is root's
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
            return


def end_group(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """Terminate a group's processes, which then remove what they made; then kill them.

    Between the two pass ``patience`` seconds at most. Another thread may read its output and wait
    for it.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process ended. It is not reaped, so that its group id is not reused."""
    if process.returncode is not None:
        return True
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, how) is not None


def _drained(descriptor: int) -> bool:
    """Discard the available output; return whether that was its end."""
    try:
        for _ in range(_TURNS):  # bounded, so that the caller checks the deadline in between
            if not os.read(descriptor, _CHUNK):
                return True
    except BlockingIOError:
        pass
    return False
