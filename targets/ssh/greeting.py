"""What a server says before SSH begins: its greeting, or something else."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    import paramiko

#: What comes before an SSH server's greeting, and with it, is shorter (bytes).
_GREETING = 16 << 10


class NoServer(OSError):
    """What answers does not greet as an SSH server does; says how."""


class Greeted:
    """A connection of which the beginning was read already, and is read again first."""

    def __init__(self, stream: socket.socket | paramiko.Channel, begun: bytes) -> None:
        self._stream, self._begun = stream, begun

    def recv(self, size: int) -> bytes:
        """Return up to so many bytes, of the beginning first."""
        if not self._begun:
            return self._stream.recv(size)
        first, self._begun = self._begun[:size], self._begun[size:]
        return first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def greeting(stream: socket.socket | paramiko.Channel, patience: float) -> bytes:
    """Read until a whole line begins as RFC 4253 has it (4.2); paramiko would read for ever."""
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
    """Return what a reader knows it by: the first line that holds more than a terminal's codes."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode(errors="replace"))
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:80]


def words_of(error: BaseException) -> str:
    """Return what an error says, without its number."""
    if isinstance(error, EOFError):
        return "the other side closed the connection"
    return re.sub(r"\[Errno \S+\] ", "", str(error)) or type(error).__name__
