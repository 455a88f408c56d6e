"""Standard output that cannot be written, such as a closed pipe or a full disk: exit code 3.

Python, click, rich and pytest would exit with 1, which here means *not compliant* or *drift*.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich import console
from rich.segment import Segment

from docker_lxc_gate.masking import mask
from docker_lxc_gate.printable import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import click
    from rich.console import ConsoleOptions, RenderableType

#: The exit code of a program whose output could not be written.
LOST = 3
#: Limits for a printed line and a printed message (characters): a guest may send a megabyte.
LONG, LONGEST = 3000, 60_000
_CANNOT_WRITE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def error_text(what: object) -> str:
    """Return an error as text for a terminal: without secrets and control characters, cut.

    Its further lines are indented, so that they cannot look like ours.
    """
    text = str(what)
    lines = (cut(line, LONG) for line in printable(mask(text[: 2 * LONGEST])).split("\n"))
    return cut("\n  ".join(lines), LONGEST, beyond=max(0, len(text) - 2 * LONGEST))


class Console(console.Console):
    """Rich's console, which leaves a closed pipe to :func:`written`, and escapes controls."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape the control characters of every text; rich's own styles stay."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise the present BrokenPipeError again."""
        raise  # noqa: PLE0704 - rich calls this where it is


@contextmanager
def written() -> Iterator[None]:
    """End the program with 3, and one line on standard error, if its output cannot be written."""
    stdout = sys.stdout
    if stdout is None:  # >&-: end now, because the next opened file would become standard output
        print("error: standard output is closed", file=sys.stderr)
        sys.exit(LOST)
    if isinstance(stdout, io.TextIOWrapper):  # its encoding may lack a character of a name
        stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            stdout.flush()
            if sys.stdout is not stdout:  # click replaces it after a closed pipe
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    except OSError as error:
        if error.errno not in _CANNOT_WRITE or error.filename is not None:
            raise
        # This may also be one of our own files on a full disk, which is no verdict either.
        what = "standard output" if error.errno == errno.EPIPE else "the output"
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes the rest at exit
        with suppress(OSError):
            print(f"error: {what} cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(LOST)


def run(command_line: click.Command, name: str) -> None:
    """Run a program's command line; an unexpected error also ends it with 3.

    Args:
        command_line: the program's click command.
        name: the program's name in its help, ``python -m docker_lxc_gate lab``.
    """
    try:
        with written():
            command_line(prog_name=name)
    except Exception:  # noqa: BLE001 - no exception may end as a verdict
        with suppress(OSError):
            print(printable(mask(traceback.format_exc())), file=sys.stderr, end="")
            print(f"error: {name} itself failed: this is a bug, and no verdict", file=sys.stderr)
        sys.exit(LOST)
