"""Saying what takes its time, with how long it has taken."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console

#: What ends sooner than this is not worth a line of its own (seconds).
_WORTH_SAYING = 2.0


class Steps(Protocol):
    """Called with what is about to happen; the context it returns lasts as long as that."""

    def __call__(self, what: str) -> AbstractContextManager[None]:
        """Return the context in which ``what`` happens."""


@contextmanager
def silent(what: str) -> Iterator[None]:  # noqa: ARG001 - as Steps has it
    """Say nothing."""
    yield


def on(console: Console) -> Steps:
    """Return Steps that show on ``console``: live on a terminal, plain lines elsewhere."""

    @contextmanager
    def step(what: str) -> Iterator[None]:
        started = time.monotonic()
        if console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            with Progress(*columns, console=console, transient=True) as live:
                live.add_task(what, total=None)
                yield
        else:
            console.print(f"{what} …", markup=False, highlight=False, soft_wrap=True)
            yield
        took = time.monotonic() - started
        if took >= _WORTH_SAYING:
            console.print(f"{what}: {took:.1f} s", markup=False, highlight=False, soft_wrap=True)

    return step


def told_to(tell: Callable[[str], None]) -> Steps:
    """Return Steps that tell each beginning, and each end that took long enough to matter."""

    @contextmanager
    def step(what: str) -> Iterator[None]:
        started = time.monotonic()
        tell(f"{what} …")
        yield
        took = time.monotonic() - started
        if took >= _WORTH_SAYING:
            tell(f"{what}: {took:.1f} s")

    return step
