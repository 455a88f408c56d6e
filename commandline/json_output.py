"""JSON for programs, with control characters escaped."""

from __future__ import annotations

import msgspec

from targets.printable import in_json


def json_line(value: object) -> str:
    """Return a value as JSON in one line."""
    return in_json(msgspec.json.encode(value).decode())


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    print(in_json(msgspec.json.format(msgspec.json.encode(value)).decode()))
