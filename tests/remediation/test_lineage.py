"""Who started whom: of real processes where the kernel tells, and of nobody where it does not."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from remediation.errors import CommandFailed, TransportError
from remediation.lineage import Lineage
from remediation.transport import Base, CommandResult, Local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remediation.transport import Hold


def test_a_process_that_is_gone_is_known_by_its_parent() -> None:
    noted = Lineage(Local())
    if noted._notes is None:
        pytest.skip("this machine does not tell of its processes")
    argv = ["sh", "-c", "sleep 0.1 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
    parents = noted.parents()
    assert parents[child] == shell.pid
    assert parents[shell.pid] == os.getpid()
    assert noted.parents() == parents, "asked again, it says the same"


class Node(Base):
    """Holds a command, or does not; and has a file that was written."""

    machine = "the node"

    def __init__(self, fails: Exception | None = None) -> None:
        self._fails, self.released, self.ran = fails, 0, list[list[str]]()

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.ran.append(list(argv))
        return CommandResult(tuple(argv), 0, b"7 5\n5 1\n", b"", self.machine, 0.0, 0.0)

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        if self._fails:
            raise self._fails
        assert argv[:2] == ["perl", "-e"]
        assert f'print "{word}\\n"' in argv[2]
        return self

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        self.released += 1


def test_what_was_noted_is_taken_and_removed() -> None:
    node = Node()
    noted = Lineage(node)
    assert node.ran == []
    assert noted.parents() == {7: 5, 5: 1}
    assert noted.parents() == {7: 5, 5: 1}
    assert node.released == 1
    ((shell, _, script, _, file),) = node.ran
    assert shell == "sh"
    assert "rm --" in script
    assert file.startswith("/run/")


@pytest.mark.parametrize(
    "error",
    [
        TransportError("no connection"),
        CommandFailed(CommandResult(("perl",), 127, b"", b"no perl", "the node", 0.0, 0.0)),
    ],
)
def test_where_it_cannot_be_noted_nobody_is_known(error: Exception) -> None:
    node = Node(error)
    assert Lineage(node).parents() == {}
    assert node.ran == []
