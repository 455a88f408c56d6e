"""Whether the user agrees to what happens on the way."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.text import Text

from remediation.cli import printing
from targets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def consent(side_effects: Sequence[str], *, yes: bool) -> None:
    """Ask before anything is stopped, hidden or removed; without a terminal, refuse."""
    if not side_effects:
        return
    printing.err.print(Text("this will happen on the way:", style="bold"))
    for sentence in side_effects:
        printing.line(f"  {sentence}", "yellow", to=printing.err)
    if yes:
        return
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(
            "something would be stopped or removed, and nobody can be asked: give --yes"
        )
    try:
        agreed = click.confirm("go on?", default=False, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):  # the end of the input is a no
            raise
        raise KeyboardInterrupt from error  # Ctrl-C is no answer
    if not agreed:
        raise click.Abort
