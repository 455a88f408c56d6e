"""As whom commands run: what the node says of it, and what is no answer."""

from __future__ import annotations

import os

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import access
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Local
from tests.doubles.naming import naming
from tests.doubles.scripted import Scripted


def says(answer: str, code: int = 0) -> access.Access:
    return access.access(Scripted({("sh",): (code, answer.encode(), b"")}))


def test_access_is_the_user_and_who_called_sudo() -> None:
    assert says("0\nroot\n\n") == says("0\nroot\n") == access.Access(0, "root")
    assert says("0\nroot\nalice\n") == access.Access(0, "root", "alice")
    assert says("1000\nalice\n\n") == access.Access(1000, "alice")
    assert says("0") == access.Access(0, "")
    assert access.access(Local()).uid == os.getuid()


def test_access_without_a_number_is_an_error_that_names_the_answer() -> None:
    with naming(FactError, "Welcome!"):
        says("Welcome!\n")
    with pytest.raises(FactError):
        says("\N{FULLWIDTH DIGIT FIVE}\nroot\n\n")
    with pytest.raises(CommandFailed):
        says("0\nroot\n\n", code=1)
