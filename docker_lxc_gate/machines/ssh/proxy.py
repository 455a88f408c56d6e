"""A program that carries a connection's bytes: ssh to a jump host, or a ProxyCommand."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from docker_lxc_gate.machines import process
from docker_lxc_gate.printable import printable

#: How much of its last words is kept (bytes, lines).
_WORDS, _LINES = 2000, 8
#: How long it may take to say why it ended, and to end when asked to (seconds).
_PATIENCE = 1.0


class Proxy:
    """The running program; ``socket`` is the other end of its standard input and output.

    It has no terminal to ask for a password on.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._said = b""
        self.socket, its_own = socket.socketpair()
        with its_own:
            stream, pipe = its_own.fileno(), subprocess.PIPE
            self._child = subprocess.Popen(
                argv, stdin=stream, stdout=stream, stderr=pipe, start_new_session=True
            )
        self._reader = threading.Thread(target=self._listen, args=[self._child.stderr], daemon=True)
        self._reader.start()

    def _listen(self, stderr: IO[bytes]) -> None:
        """Read all its messages: once the pipe is full, it would wait forever."""
        with stderr:
            while chunk := os.read(stderr.fileno(), _WORDS):
                self._said = (self._said + chunk)[-_WORDS:]

    def close(self) -> str:
        """End it and all that it started, and return its last words."""
        self.socket.close()
        self._reader.join(_PATIENCE)
        words = self._said
        if self._child.returncode is None:
            process.end_group(self._child, _PATIENCE)
        lines = printable(words.decode(errors="surrogateescape")).splitlines()
        return "\n  ".join([line for line in lines if line.strip()][-_LINES:])
