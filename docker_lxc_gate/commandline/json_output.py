"""JSON for programs: as safe to show as the text for people.

A program that prints a value of it prints neither a secret nor a control character.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec

from docker_lxc_gate.masking import mask
from docker_lxc_gate.printable import in_json, printable

#: In click's context: JSON is asked for, and none was printed.
_WANTED = "docker_lxc_gate.json"


def json_line(value: object, *, exactly: bool = False) -> str:
    """Return a value in one line, as msgspec encodes it.

    If ``exactly``, all texts stay as they are; control characters are JSON escapes even then.
    """
    return in_json(msgspec.json.encode(value if exactly else shown(value)).decode())


def json_text(value: object, *, exactly: bool = False) -> str:
    """Return a value as JSON, indented; see :func:`json_line`."""
    return msgspec.json.format(json_line(value, exactly=exactly))


def print_json(value: object, *, exactly: bool = False) -> None:
    """Print a value as JSON, indented; see :func:`json_line`."""
    if context := click.get_current_context(silent=True):
        context.meta.pop(_WANTED, None)
    text = json_text(value, exactly=exactly)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in text)
    print(text)


def print_json_error(context: click.Context, error: object) -> None:
    """Print an error as JSON if a command was asked for JSON, and could print none."""
    if context.meta.get(_WANTED):
        print_json({"error": str(error)})


def with_form(
    *others: str, meaning: str = "What to print."
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds ``--format`` and ``--json``, as the argument ``form``.

    ``others`` are forms besides text and JSON; ``meaning`` is the help of ``--format``.
    """

    def added(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def noted(*args: Any, form: str, **kwargs: Any) -> None:
            if form == "json":
                click.get_current_context().meta[_WANTED] = True
            command(*args, form=form, **kwargs)

        short = click.option("--json", "form", flag_value="json", help="Same as --format json.")
        choice = click.Choice(["text", "json", *others])
        whole = click.option(
            "--format", "form", type=choice, default="text", help=f"{meaning}  [default: text]"
        )
        return whole(short(noted))

    return added


def shown(value: object) -> Any:
    """Return a value as values of JSON, every text masked, its control characters escaped."""
    return with_texts(msgspec.to_builtins(value), lambda text: printable(mask(text)))


def with_texts(
    value: Any, change: Callable[[str], str], change_key: Callable[[str], str] = str
) -> Any:
    """Return values of JSON with each text changed, and keys as told; ours stay as they are."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [with_texts(item, change, change_key) for item in value]
    if isinstance(value, dict):
        return {
            change_key(key): with_texts(item, change, change_key) for key, item in value.items()
        }
    return value
