"""An open shell, for looks: a line in, an answer out.

To enter a container starts a program or two, and a session over SSH takes some round trips: longer
than most looks. So each machine has one ``sh`` that answers them in turn (``programs/look.sh``).

Every look has a mark of its own. It goes to the shell's standard input when the look is made, so
nothing that is read holds it by chance, and no list of processes shows it. Root in the container
can read it out of the shell. He can then give a false answer, as he can by replacing a program, but
not the answer of a later look, whose mark he does not know yet.
"""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.child import TooMuch
from docker_lxc_gate.machines.programs import program

if TYPE_CHECKING:
    from docker_lxc_gate.machines.child import Answer, Child

_LOOK = program("docker_lxc_gate.machines", "look.sh")
#: The node ends a shell after so many seconds, and the look that hangs in it, if we are gone.
LASTS = 600.0
#: A look that may take longer is a command of its own (seconds).
LONGEST = 180.0
#: So many shells stay open on a connection, of which sshd allows ten sessions.
MOST = 3
#: How long an answer may take beyond its deadline (seconds).
_GRACE = 10.0
#: Room for what stands around an answer (bytes).
_AROUND = 4096


class Shell:
    """One open ``sh``; ``child`` is its process here."""

    def __init__(self, child: Child) -> None:
        self.child = child
        #: Whether a look left a process behind, which may speak into the next one.
        self.is_spoilt = False
        self._fresh = True
        self._said = b"", b""

    def ask(self, argv: Sequence[str], timeout: float, limit: int) -> Answer | None:
        """Return exit code and both outputs of a command; None if the shell ended instead.

        None, too, if something was said since the last look: a process that an earlier look left
        behind might speak into this one. Raises Late and TooMuch of
        :mod:`docker_lxc_gate.machines.child`; then the shell is to be ended.
        """
        mark = secrets.token_hex(16)
        line = shlex.join(("look", mark, *argv)) + "\n"
        begin, end = (f"\n{mark}{tail}".encode() for tail in ("\n", " "))

        def ended(*outputs: bytes | bytearray) -> bool:
            return all(out[-1:] == b"\n" and end in out[-len(end) - 5 :] for out in outputs)

        fresh, self._fresh = self._fresh, False
        text = os.fsencode(_LOOK + line if fresh else line)
        deadline = time.monotonic() + timeout + _GRACE
        self._said = self.child.exchange(text, deadline, limit + _AROUND, ended)
        if not ended(*self._said):
            return None
        before, answers = zip(*(output.partition(begin)[::2] for output in self._said), strict=True)
        if any(before) and not fresh:
            self.child.hang_up()
            return None
        (out, _, code), (err, _, _) = (answer.rpartition(end) for answer in answers)
        if max(len(out), len(err)) > limit:
            raise TooMuch
        self.is_spoilt = b"+" in code
        return _code(code), out, err

    def last_words(self, limit: int) -> Answer:
        """Return how a shell that did not answer ended: its exit code, and all that it said.

        Raises TransportError if it ended as if all were well.
        """
        code, out, err = self.child.converse(b"", time.monotonic() + _GRACE, limit)
        if not code:
            raise TransportError("a shell for looks ended without an answer")
        return code, self._said[0] + out, self._said[1] + err


def _code(status: bytes) -> int:
    """Return an exit code; one that cannot be read is a failure."""
    digits = patterns.fullmatch(rb"([0-9]{1,3})\+?\n", status)
    return int(digits[1]) if digits else 255
