"""As whom commands run: what is red, what cannot be told."""

from __future__ import annotations

import os

import pytest

from facts import access
from steps import prerequisites as steps
from targets.errors import CommandFailed, FactError
from targets.target import Target
from targets.transport import Local
from tests.doubles.scripted import Scripted


def says(answer: str, code: int = 0) -> access.Access:
    script = 'id -u; id -un; echo "${SUDO_USER:-}"'
    return access.access(Scripted({("sh", "-c", script): (code, answer.encode(), b"")}))


def test_access() -> None:
    target = Target("local", 950)
    steps.runs_as_root(target, says("0\nroot\n\n"))
    assert says("0\nroot\nalice\n").sudo_user == "alice"
    with pytest.raises(AssertionError, match=r"run as alice \(uid 1000\).*NOPASSWD"):
        steps.runs_as_root(target, says("1000\nalice\n\n"))
    with pytest.raises(FactError, match="id -u printed"):
        says("Welcome!\n")
    with pytest.raises(CommandFailed):
        says("0\nroot\n\n", code=1)
    assert says("0") == access.Access(0, "") == access.Access(0, "", "")
    assert access.access(Local()).uid == os.getuid()
