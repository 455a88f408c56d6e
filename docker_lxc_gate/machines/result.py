"""What a command on a machine said, and the error of one that failed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.masking import mask_end


@dataclass(frozen=True)
class CommandResult:
    """One command that ran to its end.

    ``seconds`` is its duration as seen from here, ``started`` a Unix time.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes
    machine: str
    started: float
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the exit code was 0."""
        return self.exit_code == 0

    @property
    def command(self) -> str:
        """The argv, quoted so that it can be pasted into a shell."""
        return shlex.join(self.argv)

    @property
    def text(self) -> str:
        """Standard output as text; what is not UTF-8 is replaced."""
        return self.stdout.decode(errors="replace")

    def require(self, hint: str = "") -> CommandResult:
        """Return self if the exit code was 0, else raise CommandFailed with the hint."""
        if not self.ok:
            raise CommandFailed(self, hint)
        return self


class CommandFailed(RemediationError):
    """A command ran and failed: its exit code is not the expected one."""

    def __init__(self, result: CommandResult, hint: str = "") -> None:
        self.result = result
        message = result.stderr.decode(errors="replace").strip() or (
            result.stdout.decode(errors="replace").strip()
        )
        text = f"on {result.machine}: {result.command} ended with {result.exit_code}"
        text += f": {mask_end(message, 2000)}" if message else " and said nothing"
        super().__init__(f"{text}\n{hint}" if hint else text)
