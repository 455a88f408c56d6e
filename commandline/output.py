"""Standard output that cannot be written, as a closed pipe or a full disk: that is no verdict.

Python, click, rich and pytest end with 1 there, which here means *not compliant* or *drift*.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich import console
from rich.segment import Segment

from targets.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import click
    from rich.console import ConsoleOptions, RenderableType

#: What a program ends with whose answer nobody was given.
LOST = 3
_CANNOT_WRITE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Console(console.Console):
    """Rich's, which leaves a closed pipe to :func:`written`, and shows no text that is obeyed."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape in every text what a terminal obeys; styles are rich's own and stay."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that is being handled."""
        raise  # noqa: PLE0704 - rich calls this where it is


@contextmanager
def written() -> Iterator[None]:
    """End the program with 3, and one line on standard error, if its output cannot be written."""
    stdout = sys.stdout
    if stdout is None:  # >&-: before anything is done, since the next file opened would be it
        print("error: standard output is closed", file=sys.stderr)
        sys.exit(LOST)
    try:
        try:
            yield
        finally:
            stdout.flush()
            if sys.stdout is not stdout:  # click's sign of a closed pipe
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    except OSError as error:
        if error.errno not in _CANNOT_WRITE or error.filename is not None:
            raise
        # A file of ours on a full disk says the same; it is as little a verdict.
        what = "standard output" if error.errno == errno.EPIPE else "the output"
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left is written at the very end
        with suppress(OSError):
            print(f"error: {what} cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(LOST)


def run(command_line: click.Command, name: str) -> None:
    """Run a program's command line; an error that nobody foresaw ends it with 3, too.

    Args:
        command_line: the whole of it.
        name: what the program is called in its help, ``python -m lab``.
    """
    try:
        with written():
            command_line(prog_name=name)
    except Exception:  # noqa: BLE001 - whatever it is, it is no verdict
        with suppress(OSError):
            print(printable(traceback.format_exc()), file=sys.stderr, end="")
            print(f"error: a fault of {name} itself, which is no answer", file=sys.stderr)
        sys.exit(LOST)
