"""Docker's settings file, as dockerd reads it.

Source: moby daemon/config/config.go (``getConflictFreeConfiguration``): since 23.0 a byte order
mark decides the encoding, else it is UTF-8; a blank file holds no settings.
"""

from __future__ import annotations

import codecs
import json
from typing import Any

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
#: The first major version whose dockerd starts on a file with a byte order mark.
READS_MARKS = 23


def mark(content: bytes) -> bytes:
    """Return the file's byte order mark, or empty bytes."""
    return next((bom for bom in _MARKS if content.startswith(bom)), b"")


def text(content: bytes) -> str:
    """Return the file's text without its byte order mark.

    Raises ValueError if it is not in the encoding of its mark, or not in UTF-8 if it has none.
    """
    return content.removeprefix(mark(content)).decode(encoding(content))


def encoding(content: bytes) -> str:
    """Return the encoding that the file's mark names, or UTF-8."""
    return _MARKS.get(mark(content), "utf-8")


def parse(content: bytes) -> dict[str, Any]:
    """Return the file's settings; none for a blank file or ``null``.

    Raises ValueError if the file is not text, not JSON (``NaN`` and ``Infinity`` are none), nested
    too deep, or holds no object.
    """
    read = text(content)
    try:
        value = json.loads(read, parse_constant=no_number) if read.strip() else None
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(value, dict | None):
        raise ValueError("it holds no JSON object")  # noqa: TRY004 - as every other defect
    return value or {}


def readable(content: bytes | None) -> dict[str, Any]:
    """Return the file's settings; empty if it is absent or cannot be read."""
    try:
        return parse(content or b"")
    except ValueError:
        return {}


def no_number(name: str) -> Any:
    """Refuse NaN and Infinity, which Python takes for numbers."""
    raise ValueError(f"{name} is not a number in JSON")
