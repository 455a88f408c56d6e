"""What was run and what came back, kept until the report takes it.

The transport tells :func:`record` of every command; a step tells :func:`say` the one line
that a reader of the verdict wants to see. Everything that leaves this module is redacted.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from targets import batch
from targets.errors import RemediationError
from targets.masking import mask
from targets.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.transport import CommandResult

P = ParamSpec("P")

#: Of each output, this many characters from either end are kept.
KEPT = 8000
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Evidence:
    """Commands that ran and lines that were said, in order."""

    commands: tuple[CommandResult, ...] = ()
    lines: tuple[str, ...] = ()


_commands: list[CommandResult] = []
_lines: list[str] = []


def record(result: CommandResult) -> None:
    """Remember a command that ran; the listener of :class:`targets.transport.Recorded`."""
    _commands.append(result)


def say(line: str) -> None:
    """Say what was seen, in one line: it stands beside the verdict of a compliant scenario."""
    _lines.append(redact(" ".join(line.split())))


def mark() -> tuple[int, int]:
    """Return a place in the evidence, for :func:`drain` to begin at."""
    return len(_commands), len(_lines)


def drain(since: tuple[int, int] = (0, 0)) -> Evidence:
    """Take out and return what was recorded and said since a mark, or since the last drain."""
    commands, lines = since
    taken = Evidence(tuple(_commands[commands:]), tuple(_lines[lines:]))
    del _commands[commands:], _lines[lines:]
    return taken


def redact(text: str) -> str:
    """Return text with its secrets masked, its controls escaped, and no colours."""
    return printable(mask(_COLOURS.sub("", text)))


def transcript(result: CommandResult) -> str:
    """Return one command as a reader wants to see it: where, when, what, and both outputs.

    Of several in one round trip it is each of them: on the wire their outputs are encoded, which
    nobody can read, and in which no secret is known by its form.
    """
    when = datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    where, took = f"# {when} on {result.machine}", f"after {result.seconds:.1f} s"
    answers = batch.told(result)
    if answers:
        through = shlex.join(result.argv[:-4])
        lines = [f"{where}: {len(answers)} commands in one round trip, {took}"]
        lines += [f"# by way of: {redact(through)}"] * bool(through)
        for each in answers:
            lines += [f"$ {redact(each.command)}", *_outputs(each)]
            lines += [f"# exit code {each.exit_code}"] * bool(each.exit_code)
    else:
        lines = [f"{where}: exit code {result.exit_code} {took}", f"$ {redact(result.command)}"]
        if answers is not None:  # encoded, and so not to be shown
            unread = f"[{len(result.stdout)} bytes, of which no command's answer can be read]"
            result = replace(result, stdout=unread.encode())
        lines += _outputs(result)
    return "\n".join(lines) + "\n"


def _outputs(result: CommandResult) -> list[str]:
    return [*_output("", result.stdout), *_output("# standard error:", result.stderr)]


def _output(title: str, raw: bytes) -> list[str]:
    text = redact(raw.decode(errors="surrogateescape").rstrip("\n"))
    return [line for line in (title, shortened(text)) if line] if text else []


def shortened(text: str, kept: int = KEPT) -> str:
    """Return text without its middle if it is longer than twice ``kept`` characters."""
    middle = text[kept:-kept]
    if not middle:
        return text
    left_out = len(middle.encode())
    return f"{text[:kept]}\n[... {left_out} bytes left out ...]\n{text[-kept:]}"


def counted(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun: ``more`` is the noun's plural if that is not ``one`` and s."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def explanation(why: Callable[P, str]) -> Callable[P, str]:
    """Wrap what says why something is red: that it cannot be said must not change the verdict."""

    @wraps(why)
    def said(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return why(*args, **kwargs)
        except RemediationError as error:
            return f" (why cannot be said: {error})"

    return said
