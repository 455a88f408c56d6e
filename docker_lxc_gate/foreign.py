"""Parsers of text that somebody else chose: each registers itself, so that tests find it.

A container's root may write anything. A parser of it raises errors of this project alone, and takes
linear time; ``tests/unit/test_foreign_bytes.py`` tries both. ``tests/data/foreign`` has a healthy
sample of each parser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_F = TypeVar("_F", bound="Callable[..., Any]")


@dataclass(frozen=True)
class Parser:
    """A function, with the arguments that a test gives it; ``...`` stands for the foreign one."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    raises: tuple[type[Exception], ...]


#: All parsers of the modules that are imported, by module and name.
PARSERS: dict[str, Parser] = {}


def parser(
    *arguments: Any, raises: tuple[type[Exception], ...] = (), **keywords: Any
) -> Callable[[_F], _F]:
    """Register a parser.

    Args:
        arguments: what a test calls it with; ``...`` stands for the foreign argument: a text,
            bytes, or the machine or runtime that answers. Without any, it is the only argument.
        raises: what its callers catch besides the errors of this project.
        keywords: further arguments.
    """

    def register(function: _F) -> _F:
        name = f"{function.__module__}.{function.__name__}"
        PARSERS[name] = Parser(function, arguments or (...,), keywords, raises)
        return function

    return register
