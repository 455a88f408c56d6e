"""How a machine differs from what is desired, as an error carries it and a reader is shown it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Drift:
    """The difference between desired and actual.

    ``is_`` and ``should`` are texts for a unified diff; where there is no text to compare,
    ``summary`` says it all. ``shown`` are the two texts in the form in which they were compared,
    if that is another one.
    """

    summary: str
    is_: bytes = b""
    should: bytes = b""
    shown: tuple[bytes, bytes] | None = None
