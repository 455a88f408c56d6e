"""A machine whose answers come from one function."""

from collections.abc import Callable

from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Transport

#: Standard output, with exit code 0; or exit code, standard output and error.
Answer = bytes | tuple[int, bytes, bytes]


class Answering(Transport):
    """Asks ``answer`` for each command, and the machine behind it where that returns None.

    ``ran`` holds each command, ``timeouts`` its time limit, ``stdin`` the last one's input.
    """

    def __init__(
        self,
        answer: Callable[[list[str]], Answer | None],
        machine: str = "double",
        behind: Transport | None = None,
    ) -> None:
        self.answer, self.machine, self.behind = answer, machine, behind
        self.ran: list[list[str]] = []
        self.timeouts: list[float] = []
        self.stdin = b""

    def execute(self, command: Command) -> CommandResult:
        words = list(command.words)
        self.ran.append(words)
        self.timeouts.append(command.timeout)
        self.stdin = command.stdin
        answer = self.answer(words)
        if answer is None:
            assert self.behind is not None, f"nobody said what {words} answers"
            return self.behind.execute(command)
        whole = (0, answer, b"") if isinstance(answer, bytes) else answer
        return CommandResult(command.words, *whole, self.machine, 0.0, 0.0)
