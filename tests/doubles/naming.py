"""An error is expected by its type and by what it must name, never by its sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from docker_lxc_gate.verdict import evidence
from tests.doubles.scripted import Untold


@contextmanager
def naming(
    error: type[Exception] | tuple[type[Exception], ...], *nouns: object
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error whose message names each of these: a path, an id, a value, a command.

    A double that was asked what nobody told it fails the test: that is no verdict.
    """
    with pytest.raises(error) as raised:
        yield raised
    assert not isinstance(raised.value, Untold), raised.value
    missing = [noun for noun in map(str, nouns) if noun not in str(raised.value)]
    assert not missing, f"{missing} not named by: {raised.value}"


#: A Then that judges the target not compliant.
not_compliant = partial(naming, AssertionError)


def lines_of(step: Callable[..., object], *given: Any) -> tuple[str, ...]:
    """Return the lines that a step's function adds to the report, next to its verdict."""
    with evidence.collecting() as collected:
        step(*given)
    return collected.drain().lines
