"""The user's consent to the side effects of a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.text import Text

from docker_lxc_gate.cli import printing
from docker_lxc_gate.errors import UsageError
from remediation.engine.action import SideEffect


def consent(side_effects: Sequence[SideEffect | str], *, yes: bool) -> None:
    """Ask before anything is stopped, hidden or removed; without a terminal, refuse."""
    if not side_effects:
        return
    printing.err.print(Text("side effects:", style="bold"))
    for side_effect in side_effects:
        printing.line(f"  {side_effect}", "yellow", to=printing.err)
    if not (yes or agreed("go on?", "something would be stopped, removed or upgraded")):
        raise click.Abort


def agreed(question: str, what: str) -> bool:
    """Ask a question, with its mark; without a terminal, refuse, and say ``what`` would be done."""
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(
            f"{what}, and without a terminal there is no prompt: read the list above, then give "
            "--yes"
        )
    try:
        return click.confirm(question, default=False, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):  # the end of the input means no
            raise
        raise KeyboardInterrupt from error  # Ctrl-C means interrupt, not no
