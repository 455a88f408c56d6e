"""JSON for programs: as safe to show as the text for people.

A program that prints a value of it prints neither a secret nor a control character.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from docker_lxc_gate.masking import mask
from docker_lxc_gate.printable import in_json, printable

#: The longest text that is kept after it was masked once (characters).
_SHORT = 200


def json_line(value: object, *, exactly: bool = False) -> str:
    """Return a value as JSON in one line.

    Args:
        value: as msgspec encodes it.
        exactly: whether all texts stay as they are; control characters are JSON escapes even then.
    """
    return in_json(msgspec.json.encode(value if exactly else shown(value)).decode())


def json_text(value: object, *, exactly: bool = False) -> str:
    """Return a value as JSON, indented; see :func:`json_line`."""
    return in_json(
        msgspec.json.format(msgspec.json.encode(value if exactly else shown(value))).decode()
    )


def print_json(value: object, *, exactly: bool = False) -> None:
    """Print a value as JSON, indented; see :func:`json_line`."""
    print(json_text(value, exactly=exactly))


def shown(value: object) -> Any:
    """Return a value as values of JSON, with every text masked and its control characters escaped.

    The keys stay, since they are ours.
    """
    return _shown(msgspec.to_builtins(value))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return _often(value) if len(value) <= _SHORT else printable(mask(value))
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    if isinstance(value, dict):
        return {key: _shown(each) for key, each in value.items()}
    return value


@lru_cache(maxsize=4096)
def _often(text: str) -> str:
    """Return a short text, masked: a matrix has the same words ten thousand times."""
    return printable(mask(text))
