"""A node and its container behind one shell that can do many commands at once: trips are counted.

It stands where SSH's connection would, so all layers above it are the real ones. What nobody told
it ends with 127, as a shell's unknown command does, and is kept in ``unknown``.
"""

import re
import shlex
from collections.abc import Callable, Sequence

from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Hold, Transport
from tests.doubles.scripted import by_name

#: What the layers above put before a command: the deadline, the run's mark, the way inside.
_BEFORE = re.compile(
    r"^(timeout -k \S+ \S+ |env (?!LC_ALL=C cat|-u)|[A-Z_]+=\S* |pct exec \d+ --keep-env 0 -- )+"
)
PCT = re.compile(r"(?<![\w/])pct (?:exec|status|list|config|start|shutdown)\b")
_ONE = "one timeout -k 5 60 "
_SCRIPT = ("sh", "-c", "the script")

#: What a command answers: its standard output, or exit code, standard output and error.
Answer = str | bytes | tuple[int, str, str]


def answers(script: str, each: Sequence[tuple[int, bytes, bytes]]) -> tuple[bytes, bytes]:
    """Return what such a shell prints and complains of: each command's exit code, output, error."""
    mark = re.search(r"^mark=(\w+)$", script, re.MULTILINE)
    assert mark is not None, script
    ends = [b"\n%s %d\n" % (mark[1].encode(), code) for code in (0, *(one[0] for one in each))]
    out = [end + said for end, (_, said, _) in zip(ends, [*each, (0, b"", b"")], strict=True)]
    err = [end + said for end, (_, _, said) in zip(ends, [*each, (0, b"", b"")], strict=True)]
    return b"".join(out), b"".join(err)


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

    @property
    def starts(self) -> int:
        """How often ``pct`` was started."""
        return sum(len(PCT.findall(trip)) for trip in self.trips)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> CommandResult:
        self.trips.append(shlex.join(argv))
        return CommandResult(tuple(argv), *self._answer(list(argv)), self.machine, 0.0, 0.0)

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

    def _answer(self, argv: list[str]) -> tuple[int, bytes, bytes]:
        command = _BEFORE.sub("", shlex.join(argv))
        words = shlex.split(command)
        if words[-1] == "at once":
            commands = re.split(rf"(?m)^{_ONE}", words[2])[1:]
            return 0, *answers(words[2], [self._answer(shlex.split(each)) for each in commands])
        if "cat" in words[:3] and "--" in words[:4]:
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
