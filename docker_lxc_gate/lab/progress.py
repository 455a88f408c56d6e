"""Progress: long operations, with their durations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from docker_lxc_gate.commandline.output import SCREEN

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console

    #: Called with an operation's name; returns a context for its duration.
    Steps = Callable[[str], AbstractContextManager[None]]

#: Shorter operations print no duration (seconds).
_WORTH_SAYING = 2.0


def on(console: Console) -> Steps:
    """Return Steps that print to ``console``; nothing with ``--quiet``."""

    def tell(line: str) -> None:
        if not SCREEN.quiet:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return told_to(tell)


def told_to(tell: Callable[[str], None]) -> Steps:
    """Return Steps that call ``tell`` at each start, and at the end of long operations."""

    @contextmanager
    def step(what: str) -> Iterator[None]:
        started = time.monotonic()
        tell(f"{what} …")
        yield
        took = time.monotonic() - started
        if took >= _WORTH_SAYING:
            tell(f"{what}: {took:.1f} s")

    return step


#: Prints nothing.
silent = told_to(lambda _: None)
