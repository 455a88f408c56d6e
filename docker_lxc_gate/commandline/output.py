"""Standard output that cannot be written: exit code 3 of a full disk, and none of a closed pipe.

Python, click, rich and pytest would exit with 1, which here means *not compliant* or *drift*.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich import console
from rich.segment import Segment
from typing_extensions import override

from docker_lxc_gate.machines.process import ended_as_by_ctrl_c, interrupted_by
from docker_lxc_gate.masking import mask
from docker_lxc_gate.printable import cut, printable, without_commands

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import ConsoleOptions, RenderableType

#: The exit code of a program whose output could not be written.
LOST = 3
#: Limits for a printed line and a printed message (characters): a guest may send a megabyte.
LONG, LONGEST = 3000, 60_000
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def error_text(what: object) -> str:
    """Return an error as text for a terminal: without secrets and control characters, cut.

    Its further lines are indented, so that they cannot look like ours.
    """
    text = str(what)
    safe = without_commands(printable(mask(text[: 2 * LONGEST])))
    lines = (cut(line, LONG) for line in safe.split("\n"))
    return cut("\n  ".join(lines), LONGEST, beyond=max(0, len(text) - 2 * LONGEST))


@dataclass
class _Screen:
    """The options of all commands that concern the output."""

    quiet: bool = False
    verbose: bool = False
    no_color: bool = False


SCREEN = _Screen()


def screen_option(*names: str, help: str) -> click.Option:  # noqa: A002 - click's word
    """Return an option that is kept in SCREEN."""

    def keep(_: click.Context, option: click.Parameter, value: bool) -> None:
        setattr(SCREEN, str(option.name), value)

    return click.Option(names, is_flag=True, expose_value=False, callback=keep, help=help)


class Console(console.Console):
    """Rich's console, which leaves a closed pipe to :func:`written`, and prints no commands."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape every text's control characters and GitHub's commands; rich's own styles stay."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                style = segment.style
                style = style.without_color if style and SCREEN.no_color else style
                yield Segment(without_commands(printable(segment.text)), style)

    def on_broken_pipe(self) -> None:
        """Raise the present BrokenPipeError again."""
        raise  # noqa: PLE0704 - rich calls this where it is


class _Output(io.FileIO):
    """A file descriptor for output. Once nobody reads it, the output is dropped.

    So ``| head`` ends no run in its middle, and the exit code stays that of the verdict.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._unread = {errno.EPIPE, errno.EIO} if self.isatty() else {errno.EPIPE}

    @override
    def write(self, content: ReadableBuffer, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in self._unread:
                raise
        _to_nowhere(self.fileno())
        return super().write(content)


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _safe(stream: Any) -> Any:
    """Return a standard stream that escapes what its encoding lacks, and may lose its reader."""
    try:
        raw = _Output(stream.fileno())
        return io.TextIOWrapper(
            raw if stream.write_through else io.BufferedWriter(raw),
            stream.encoding,
            "backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
    except (AttributeError, io.UnsupportedOperation):  # a test's own
        return stream


@contextmanager
def written() -> Iterator[None]:
    """End the program with 3, and one line on standard error, if its output cannot be written."""
    before = sys.stdout, sys.stderr
    if sys.stdout is None:  # >&-: end now, because the next opened file would become it
        print("error: standard output is closed", file=sys.stderr)
        sys.exit(LOST)
    sys.stdout, sys.stderr = stdout, _ = _safe(sys.stdout), _safe(sys.stderr)
    try:
        try:
            yield
        finally:
            stdout.flush()
    except OSError as error:
        if error.errno not in _CANNOT_WRITE or error.filename is not None:
            raise
        # This may also be one of our own files on a full disk, which is no verdict either.
        _to_nowhere(1)  # Python flushes the rest at exit
        with suppress(OSError):
            print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(interrupted_by() or LOST)
    finally:
        sys.stdout, sys.stderr = before


def run(command_line: click.Command, name: str) -> None:
    """Run a click command under a program's name; an unexpected error also ends it with 3."""
    try:
        with ended_as_by_ctrl_c(), written():
            command_line(prog_name=name)
    except Exception:  # noqa: BLE001 - no exception may end as a verdict
        with suppress(OSError):
            text = without_commands(printable(mask(traceback.format_exc())))
            print(text, file=sys.stderr, end="")
            print(f"error: {name} itself failed: this is a bug, and no verdict", file=sys.stderr)
        sys.exit(LOST)
