"""A child process on this machine: fed and read within its limits, and ended when it passes them.

Every child runs in a session of its own, so it has no controlling terminal. A process in a
container could otherwise type into the administrator's terminal (TIOCSTI). Source: setsid(2),
ioctl_tty(2).
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

_CHUNK = 1 << 16
_POLL = 0.02
_TURNS = 16


class TooMuch(Exception):
    """An output is longer than it may be."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the context: a process is started, and known, or not.

    What is interrupted in the middle of starting one would leave it running: no terminal ends it.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: came.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        before(signal.SIGINT, came[0])


def start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process with three pipes, in a session of its own; raises OSError."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        list(argv), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )


def converse(
    process: subprocess.Popen[bytes], stdin: bytes, *, deadline: float, limit: int
) -> tuple[bytes, bytes]:
    """Feed a process, read both its outputs to their end, and wait for its own.

    Args:
        process: as :func:`start` returns it.
        stdin: bytes for its standard input, which is then closed.
        deadline: on the monotonic clock (seconds).
        limit: how long each output may be (bytes).

    Returns:
        Standard output and standard error.

    Raises:
        TimeoutError: it, or something that holds its outputs open, did not end in time.
        TooMuch: an output is longer.
    """
    said = {process.stdout: bytearray(), process.stderr: bytearray()}
    rest = memoryview(stdin)
    with selectors.DefaultSelector() as streams:
        for stream in said:
            streams.register(_there(stream), selectors.EVENT_READ)
        given = _there(process.stdin)
        if rest:
            os.set_blocking(given.fileno(), False)
            streams.register(given, selectors.EVENT_WRITE)
        else:
            given.close()
        while streams.get_map():
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            for key, _ in streams.select(left):
                stream = _there(key.fileobj)
                if stream is given:
                    rest = rest[_sent(key.fd, rest) :]
                    ended = not rest
                else:
                    ended = not _heard(key.fd, said[stream], limit)
                if ended:
                    streams.unregister(stream)
                    stream.close()
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    out, err = said.values()
    return bytes(out), bytes(err)


def first_line(process: subprocess.Popen[bytes], *, deadline: float) -> bytes:
    """Return a process's first line, with its end, or what it said before it ended without one.

    Raises:
        TimeoutError: it said neither in time.
    """
    said, stream = bytearray(), _there(process.stdout)
    with selectors.DefaultSelector() as streams:
        streams.register(stream, selectors.EVENT_READ)
        while b"\n" not in said and len(said) < _CHUNK:
            left = deadline - time.monotonic()
            if left <= 0 or not streams.select(left):
                raise TimeoutError
            if not (chunk := os.read(stream.fileno(), _CHUNK)):
                break
            said += chunk
    return bytes(said)


def _there(stream: Any) -> Any:
    if stream is None:
        raise TypeError("a process without its pipes")
    return stream


def _heard(descriptor: int, said: bytearray, limit: int) -> bool:
    """Add what can be read; say whether there was anything before the end."""
    chunk = os.read(descriptor, _CHUNK)
    said += chunk
    if len(said) > limit:
        raise TooMuch
    return bool(chunk)


def _sent(descriptor: int, rest: memoryview) -> int:
    """Write what fits; a process that reads no more is given nothing more."""
    try:
        return os.write(descriptor, rest[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(rest)


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Ask a process to end, which ``timeout`` passes on; kill its group only if it does not.

    Of a process that has ended, what still holds its outputs open is asked, and killed, instead.
    What they say meanwhile is read, so that nobody waits for us, and thrown away.

    Args:
        process: as :func:`start` returns it.
        patience: between asking and killing (seconds).
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
            with suppress(OSError):  # of what it was not given
                each.close()


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ended; it is not waited for, so that its group's number stays its own."""
    if process.returncode is not None:
        return True
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, how) is not None


def _drained(descriptor: int) -> bool:
    """Throw away what can be read now; say whether that was the end."""
    try:
        for _ in range(_TURNS):  # of one that never stops, the deadline is looked at in between
            if not os.read(descriptor, _CHUNK):
                return True
    except BlockingIOError:
        pass
    return False
