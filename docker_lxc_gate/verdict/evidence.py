"""Evidence: the commands with their results, kept until the report takes them.

Each run has a :class:`Collector` of its own: this plugin makes it, and :func:`of` returns it. The
transport calls :meth:`Collector.record` for every command. A step calls :func:`say` with one line
for the reader of the verdict. All output of this module is redacted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec

import pytest

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.masking import STARS, mask
from docker_lxc_gate.printable import indented, printable

P = ParamSpec("P")

#: The number of characters that are kept from either end of an output.
KEPT = 8000
_COLOURS = patterns.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Evidence:
    """Commands that ran, and lines of steps, in order."""

    commands: tuple[CommandResult, ...] = ()
    lines: tuple[str, ...] = ()


class Collector:
    """The evidence of one run that the report has not taken yet."""

    def __init__(self) -> None:
        self._commands: list[CommandResult] = []
        self._lines: list[str] = []

    def record(self, result: CommandResult) -> None:
        """Record a command; ``Recorded`` calls this."""
        self._commands.append(result)

    def say(self, line: str) -> None:
        """Add one line of evidence, redacted."""
        self._lines.append(redact(" ".join(line.split())))

    def mark(self) -> tuple[int, int]:
        """Return the present end of the evidence, as a start for :meth:`drain`."""
        return len(self._commands), len(self._lines)

    def drain(self, since: tuple[int, int] = (0, 0)) -> Evidence:
        """Remove and return the evidence since a mark, or since the last drain."""
        commands, lines = since
        taken = Evidence(tuple(self._commands[commands:]), tuple(self._lines[lines:]))
        del self._commands[commands:], self._lines[lines:]
        return taken


#: Where a run's configuration keeps its collector.
COLLECTOR = pytest.StashKey[Collector]()
#: The collector of the present run, for :func:`say`: a Then has no use for one as an argument.
_present: ContextVar[Collector] = ContextVar("evidence of the present run")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Collect the evidence of this run, until it ends."""
    run = ExitStack()
    config.stash[COLLECTOR] = run.enter_context(collecting())
    config.add_cleanup(run.close)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect in a new collector; afterwards :func:`say` goes to the former one again."""
    collector = Collector()
    token = _present.set(collector)
    try:
        yield collector
    finally:
        _present.reset(token)


def of(config: pytest.Config) -> Collector:
    """Return the collector of a run."""
    return config.stash[COLLECTOR]


def say(line: str) -> None:
    """Add one line of evidence, which the report shows beside a compliant verdict.

    Raises LookupError if no run collects evidence.
    """
    _present.get().say(line)


def redact(text: str) -> str:
    """Return text with secrets masked, control characters escaped, and colours removed."""
    return printable(mask(_COLOURS.sub("", text)))


def transcript(result: CommandResult) -> str:
    """Return one command for a reader: machine, time, argv, and both outputs.

    Output is indented, so that it cannot look like our lines.
    """
    when = datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    where, took = f"# {when} on {result.machine}", f"after {result.seconds:.1f} s"
    lines = [f"{where}: exit code {result.exit_code} {took}"]
    lines += [f"$ {indented(redact(result.command))}"]
    lines += [*_output("", result.stdout), *_output("# standard error:", result.stderr)]
    return "\n".join(lines) + "\n"


def _output(title: str, raw: bytes) -> list[str]:
    text = bounded(raw.decode(errors="surrogateescape").rstrip("\n"))
    return [*[title] * bool(title), f"  {indented(text)}"] if text else []


def bounded(text: str) -> str:
    """Return a text of any length redacted, without its middle if it is long."""
    if middle := text[2 * KEPT : -2 * KEPT]:  # masking a megabyte to show its ends takes long
        first, last = redact(text[: 2 * KEPT]), redact(text[-2 * KEPT :])
        # Stars are shorter than a key. What was masked only as a margin must not come into view:
        # at its other end is what remains of a secret that was cut in two.
        end = min(KEPT, len(redact(text[:KEPT])))
        start = max(len(last) - KEPT, len(redact(text[-2 * KEPT : -KEPT])))
        left_out = len((first[end:] + middle + last[:start]).encode(errors="surrogateescape"))
        return _parted(first[:end], left_out, last[start:] or STARS)
    return shortened(redact(text))


def shortened(text: str, kept: int = KEPT) -> str:
    """Return text; without its middle if it is longer than twice ``kept`` characters."""
    middle = text[kept:-kept]
    return _parted(text[:kept], len(middle.encode()), text[-kept:]) if middle else text


def _parted(first: str, left_out: int, last: str) -> str:
    return f"{first}\n[... {left_out} bytes left out ...]\n{last}"


@contextmanager
def of_no_scenario(config: pytest.Config) -> Iterator[None]:
    """Forget what is asked meanwhile, before or between scenarios."""
    collector = of(config)
    mark = collector.mark()
    try:
        yield
    finally:
        collector.drain(mark)


def explanation(why: Callable[P, str]) -> Callable[P, str]:
    """Wrap a function that explains a red verdict: its own failure must not change the verdict."""

    @wraps(why)
    def explain(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return why(*args, **kwargs)
        except RemediationError as error:
            return f" (the cause could not be found: {error})"

    return explain
