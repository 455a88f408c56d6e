"""Text that was copied from the source of a web page."""

from __future__ import annotations

import html

from docker_lxc_gate import patterns

#: The number of no character. Python refuses to read one of thousands of digits.
_NO_CHARACTER = patterns.compile("&#[0-9]{100,};?")


def unescaped(text: str) -> str:
    """Return a text with the characters that its references, such as ``&quot;``, stand for."""
    return html.unescape(_NO_CHARACTER.sub("\ufffd", text))
