"""Names and texts in Markdown, without markup of their own."""

from __future__ import annotations

from docker_lxc_gate.printable import one_line

_MARKUP = {ord(char): f"\\{char}" for char in "\\`*_[]<>!|#~&"}


def plain(text: str) -> str:
    """Return a name as one line of Markdown without markup, whatever it is; also in a table."""
    return one_line(text).translate(_MARKUP)
