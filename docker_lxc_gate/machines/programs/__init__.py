"""The programs that run on a machine: perl and shell, each in a file below ``programs/``."""

from __future__ import annotations

from functools import cache
from importlib import resources

from docker_lxc_gate import patterns

_HEADER = patterns.compile(r"(?:#.*\n)*")


@cache
def program(package: str, name: str) -> str:
    """Return the text of ``PACKAGE/programs/NAME``, without the comment at its top."""
    text = (resources.files(package) / "programs" / name).read_text("utf-8")
    header = _HEADER.match(text)
    return text[header.end() :] if header else text
