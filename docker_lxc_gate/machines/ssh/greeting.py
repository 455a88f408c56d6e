"""A server's first bytes: an SSH greeting, or something else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from docker_lxc_gate import patterns

if TYPE_CHECKING:
    import socket

    import paramiko

#: The limit for an SSH server's greeting and the lines before it (bytes).
_GREETING = 16 << 10


class NoServer(OSError):
    """The other side did not send an SSH greeting; the text says what it sent."""


class Greeted:
    """A connection whose first bytes were read already; ``recv`` returns them again first."""

    def __init__(self, stream: socket.socket | paramiko.Channel, begun: bytes) -> None:
        self._stream, self._begun = stream, begun

    def recv(self, size: int) -> bytes:
        """Return up to ``size`` bytes, the first ones of the connection first."""
        if not self._begun:
            return self._stream.recv(size)
        first, self._begun = self._begun[:size], self._begun[size:]
        return first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def greeting(stream: socket.socket | paramiko.Channel, patience: float) -> bytes:
    """Read up to the greeting line (RFC 4253, 4.2); paramiko would read forever."""
    end, said = time.monotonic() + patience, bytearray()
    while not any(line.startswith(b"SSH-") for line in said.split(b"\n")[:-1]):
        first = f"; it begins with {first_line(bytes(said))!r}" if said else ""
        if len(said) > _GREETING:
            raise NoServer(f"it sent {len(said)} bytes and no greeting{first}")
        try:
            stream.settimeout(max(0.001, end - time.monotonic()))
            chunk = stream.recv(_GREETING)
        except TimeoutError as error:
            what = "no greeting" if said else "nothing"
            raise NoServer(f"it said {what} for {patience:g} s{first}") from error
        except OSError as error:
            raise NoServer(f"{words_of(error)}{first}") from error
        if not chunk:
            raise NoServer(f"the other side closed the connection{first}")
        said += chunk
    return bytes(said)


def first_line(said: bytes) -> str:
    """Return the first line with visible text, without terminal codes."""
    text = patterns.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode(errors="replace"))
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:80]


def words_of(error: BaseException) -> str:
    """Return an error's message, without its number."""
    if isinstance(error, EOFError):
        return "the other side closed the connection"
    return patterns.sub(r"\[Errno \S+\] ", "", str(error)) or type(error).__name__
