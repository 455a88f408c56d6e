"""A node and its container behind one connection: what was asked is kept, and starts of ``pct``.

It stands where SSH's connection would, so all layers above it are the real ones. What nobody told
it ends with 127, as a shell's unknown command does, and is kept in ``unknown``.
"""

import re
import shlex
from collections.abc import Callable, Sequence

from docker_lxc_gate.machines.child import Hold
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Transport
from tests.doubles.scripted import by_name

#: What the layers above put before a command: the deadline, the run's mark, the way inside.
_BEFORE = re.compile(r"^(timeout -k \S+ \S+ |env (?!-u)|[A-Z_]+=\S* |lxc-attach .*? -- )+")
_PCT = re.compile(r"(?<![\w/])pct (?:exec|status|list|config|start|shutdown)\b")
_STOPS = re.compile(r"(?<![\w/])pct shutdown\b")
_SCRIPT = ("sh", "-c", "the script")

#: What a command answers: its standard output, or exit code, standard output and error.
Answer = str | bytes | tuple[int, str, str]


class Node(Transport):
    """Files by path, and answers by the beginning of a command line.

    Args:
        files: of the node and the container; all others are absent.
        says: the first entry that a command line begins with answers; a function is given the
            words.
    """

    machine = "node"

    def __init__(
        self, files: dict[str, bytes], says: dict[str, Answer | Callable[[list[str]], Answer]]
    ) -> None:
        self.files, self.says = files, says
        self.trips: list[str] = []
        self.unknown: list[str] = []
        self.holds: list[str] = []
        #: How often ``pct`` was started, and the shells that it has open.
        self.starts = 0
        self._shells: set[tuple[str, ...]] = set()

    def execute(self, command: Command) -> CommandResult:
        line = shlex.join(command.argv)
        self.starts += len(_PCT.findall(line))
        if command.via not in self._shells:
            self._shells.add(command.via)
            self.starts += len(_PCT.findall(shlex.join(command.via)))
        if command.changes and _STOPS.search(line):
            self._shells.clear()
        return self._asked(list(command.words), command.stdin)

    def _asked(self, argv: list[str], stdin: bytes) -> CommandResult:
        self.trips.append(shlex.join(argv))
        return CommandResult(tuple(argv), *self._answer(argv, stdin), self.machine, 0.0, 0.0)

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        self.trips.append(shlex.join(argv))
        self.holds.append(word)
        return self

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        """It ends."""

    def close(self) -> None:
        """The connection ends."""

    def reconnect(self) -> None:
        """Begin a new connection, of which nothing is counted yet."""
        self.starts = 0
        self._shells.clear()

    def _answer(self, argv: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        command = _BEFORE.sub("", shlex.join(argv))
        words = shlex.split(command)
        if words[:2] == ["cat", "--"]:
            content = self.files.get(words[-1])
            return (1, b"", b"No such file or directory") if content is None else (0, content, b"")
        named = shlex.join(by_name(words)) if len(words) > len(_SCRIPT) else command
        for start, answer in self.says.items():
            if command.startswith(start) or named.startswith(start):
                said = answer(words) if callable(answer) else answer
                if isinstance(said, bytes):
                    return 0, said, b""
                code, out, err = (0, said, "") if isinstance(said, str) else said
                return code, out.encode(), err.encode()
        self.unknown.append(command)
        return 127, b"", b""
