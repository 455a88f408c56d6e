r"""Text that is safe to print: no control character acts on a terminal, a browser or an XML parser.

A guest chooses its output. An escape sequence could clear the screen and show a forged verdict,
OSC 52 could write the clipboard, a bidirectional control could reorder the text, and a control
character makes XML invalid. All output of this program goes through here; an escaped character
reads ``\x1b`` or ``\u202e``. Source: ECMA-48, xterm's ctlseqs, UAX #9, XML 1.0 section 2.2.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

#: Controls (C0, DEL, C1), marks and overrides of direction, separators of lines, surrogates and
#: what is no character. A line feed and a tab are left alone.
_OBEYED = (
    *(*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F),
    *(*range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF),
)
_IN_JSON = {number: f"\\u{number:04x}" for number in _OBEYED}
#: A surrogate stands for a byte that is not UTF-8.
_SURROGATE, _BYTES = 0xDC00, range(0x80, 0x100)
_ESCAPED = _IN_JSON | {
    **{number: f"\\x{number:02x}" for number in _OBEYED if number in range(0x100)},
    **{_SURROGATE + byte: f"\\x{byte:02x}" for byte in _BYTES},
}
#: What is shown of a command (characters): a script of ours is longer than its error.
_COMMAND = 400


class Notice(str):
    """A line that is no progress, so that ``--quiet`` does not hide it."""

    __slots__ = ()


def printable(text: str) -> str:
    r"""Return a text of any number of lines with its control characters escaped.

    A line may end in ``\r\n``. A byte that is not UTF-8 (``surrogateescape``) reads ``\xff``.
    """
    return text.replace("\r\n", "\n").translate(_ESCAPED)


def one_line(text: str) -> str:
    r"""Return a text as one line, with ``\n`` and ``##[``, GitHub's older commands, escaped."""
    return printable(text).replace("\n", r"\n").replace("\t", " ").replace("##[", r"#\x23[")


def without_commands(text: str) -> str:
    r"""Return a text of any number of lines that has no command for GitHub's runner.

    The runner takes ``::`` after blanks at a line's start, and ``##[`` anywhere; both are escaped.
    """
    lines = (
        line.replace("::", r":\x3a", 1) if line.lstrip().startswith("::") else line
        for line in text.split("\n")
    )
    return "\n".join(lines).replace("##[", r"#\x23[")


def indented(text: str) -> str:
    """Return text with its further lines indented, so that they cannot look like ours."""
    return text.replace("\n", "\n  ")


def listed(names: Sequence[str], most: int, what: str = "more") -> str:
    """Return the first of some names, and how many there are besides.

    >>> listed("abcd", 2), listed("ab", 2)
    ('a, b and 2 more', 'a, b')
    """
    left_out = f" and {len(names) - most} {what}" if len(names) > most else ""
    return f"{', '.join(names[:most])}{left_out}"


def counted(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun; ``more`` is an irregular plural."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def cut(text: str, most: int = 2000, *, beyond: int = 0) -> str:
    """Return at most ``most`` characters of a text, and the number of those left out.

    Args:
        text: any text.
        most: how much of it is wanted.
        beyond: how many characters were left out before.
    """
    left_out = max(0, len(text) - most) + beyond
    return f"{text[:most]}… ({left_out} more characters)" if left_out else text


def command(argv: Sequence[str]) -> str:
    """Return a command for a message: of a script only its beginning, in one line."""
    return cut(" ".join(shlex.join(argv).split()), _COMMAND)


def in_json(text: str) -> str:
    """Return the same JSON with control characters, and GitHub's ``##[``, as JSON escapes."""
    return text.translate(_IN_JSON).replace("##[", r"#\u0023[")


def for_github(kind: str, message: str, **properties: str) -> str:
    """Return a command of a GitHub workflow, which shows a message next to a file.

    ``kind`` is error, warning or notice. Empty properties are left out. Source: GitHub's
    documentation, "Workflow commands for GitHub Actions".
    """
    given = ",".join(
        f"{name}={_for_github(value).replace(':', '%3A').replace(',', '%2C')}"
        for name, value in properties.items()
        if value
    )
    return f"::{kind} {given}::{_for_github(message)}"


def _for_github(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
