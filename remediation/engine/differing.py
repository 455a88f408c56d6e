"""How two states of an action differ, in words for a reader."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass

#: More than this of a value is no use to a reader (characters).
_LONG = 200


def differing(before: object, now: object, name: str = "") -> list[str]:
    """Return in which parts two states differ, a few words each: what must be, and what is.

    A part is named by its fields, such as ``settings.content``.
    """
    if is_dataclass(before) and type(before) is type(now):
        parts = [field.name for field in fields(before) if field.compare]
        return [
            words
            for part in parts
            for words in differing(
                getattr(before, part), getattr(now, part), f"{name}.{part}".lstrip(".")
            )
        ]
    was, is_ = (_shown(value, name) for value in (before, now))
    return [] if before == now else [f"{name or 'it'}: {was} -> {is_}"]


def _shown(value: object, name: str) -> str:
    """Return a value in one line: what no terminal prints is escaped, and no content is shown."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:8]}"
    if isinstance(value, int) and name.endswith("mode"):
        return f"{value:04o}"
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
