r"""Text that is safe to print: no control character acts on a terminal, a browser or an XML parser.

A guest chooses its output. An escape sequence could clear the screen and show a forged verdict,
OSC 52 could write the clipboard, a bidirectional control could reorder the text, and a control
character makes XML invalid. All output of this program goes through here; an escaped character
reads ``\x1b`` or ``\u202e``. Source: ECMA-48, xterm's ctlseqs, UAX #9, XML 1.0 section 2.2.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Controls (C0, DEL, C1), marks and overrides of direction, separators of lines, surrogates and
#: what is no character. A line feed and a tab are left alone.
_OBEYED = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_SURROGATE = 0xDC00
_BYTE = 0xFF
#: What is shown of a command (characters): a script of ours is longer than its error.
_COMMAND = 400


def printable(text: str) -> str:
    r"""Return a text of any number of lines with its control characters escaped.

    A line may end in ``\r\n``. A byte that is not UTF-8 (``surrogateescape``) reads ``\xff``.
    """
    return _OBEYED.sub(_escaped, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    r"""Return a text as one line: a line feed reads ``\n``, so the text cannot forge a line."""
    return printable(text).replace("\n", r"\n").replace("\t", " ")


def cut(text: str, most: int = 2000) -> str:
    """Return at most ``most`` characters of a text, and the number of those left out."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[:most]}… ({left_out} more characters)"


def command(argv: Sequence[str]) -> str:
    """Return a command for a message: of a script only its beginning, in one line."""
    return cut(" ".join(shlex.join(argv).split()), _COMMAND)


def in_json(text: str) -> str:
    """Return the same JSON with control characters as JSON escapes."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if _SURROGATE + 0x80 <= number <= _SURROGATE + _BYTE:
        number -= _SURROGATE
    return f"\\x{number:02x}" if number <= _BYTE else f"\\u{number:04x}"
