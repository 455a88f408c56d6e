"""Progress: long operations, with their durations."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from docker_lxc_gate.commandline.output import SCREEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console

#: Shorter operations print no duration (seconds).
_WORTH_SAYING = 2.0


class Steps(Protocol):
    """Called with an operation's name; returns a context for its duration."""

    def __call__(self, what: str) -> AbstractContextManager[None]:
        """Return the context for the operation ``what``."""


@contextmanager
def silent(what: str) -> Iterator[None]:  # noqa: ARG001 - the signature of Steps
    """Print nothing."""
    yield


def on(console: Console) -> Steps:
    """Return Steps that print to ``console``: live on a terminal, plain lines elsewhere.

    Operations may overlap, on several threads.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    live, shown, lock = Progress(*columns, console=console, transient=True), set[TaskID](), Lock()

    @contextmanager
    def spinning(what: str) -> Iterator[None]:
        with lock:
            task = live.add_task(what, total=None)
            shown.add(task)
            live.start()
        try:
            yield
        finally:
            with lock:
                live.remove_task(task)
                shown.remove(task)
                if not shown:
                    live.stop()

    @contextmanager
    def step(what: str) -> Iterator[None]:
        started = time.monotonic()
        if SCREEN.quiet:
            yield
            return
        if console.is_terminal:
            with spinning(what):
                yield
        else:
            console.print(f"{what} …", markup=False, highlight=False, soft_wrap=True)
            yield
        took = time.monotonic() - started
        if took >= _WORTH_SAYING:
            console.print(f"{what}: {took:.1f} s", markup=False, highlight=False, soft_wrap=True)

    return step


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
