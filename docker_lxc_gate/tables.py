"""Tables of facts: TOML files next to the modules that read them, each checked by its type."""

from __future__ import annotations

from importlib.resources import files
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a table, or a whole one; a key without a field is an error."""


def table(package: str, name: str, kind: type[T]) -> T:
    """Return ``NAME.toml`` of a package as a value of a type; raises DecodeError if it has none."""
    return msgspec.toml.decode(files(package).joinpath(f"{name}.toml").read_bytes(), type=kind)
