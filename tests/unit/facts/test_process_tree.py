"""Who started whom: of real processes where the kernel tells, and of nobody where it does not."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from facts.process_tree import Lineage, Noted, parse
from targets.errors import CommandFailed, TransportError
from targets.transport import Base, CommandResult, Local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.transport import Hold


def test_noted_process_that_is_gone_has_its_parent() -> None:
    noting = Lineage(Local())
    argv = ["sh", "-c", "sleep 0.1 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
    noted = noting.noted()
    if not noted.whole:
        pytest.skip("this machine does not tell of its processes")
    assert noted.parents[child] == shell.pid
    assert noted.parents[shell.pid] == os.getpid()
    assert noting.noted() == noted, "asked again, it says the same"


def test_parse_notes_have_parents_containers_and_profiles() -> None:
    text = "whole 1\nparent 7 5\nprocess 7 950\nprocess 7 952\nprocess 8 web\n"
    text += "profile 950 lxc-a\nprofile 950 lxc-b\nprofile web lxc-a\n"
    noted = parse(text)
    assert noted.whole
    assert noted.parents == {7: 5}
    assert noted.containers == {7: {"950", "952"}, 8: {"web"}}
    assert noted.under("lxc-a") == {"950", "web"}
    assert noted.under("lxc-b") == {"950"}
    assert noted.under("lxc-c") == frozenset()
    assert parse("whole 0\n") == Noted()


class Node(Base):
    """Holds a command, or does not; and has a file that was written."""

    machine = "the node"

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails, self.released, self.ran = fails, 0, list[list[str]]()

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.ran.append(list(argv))
        return CommandResult(tuple(argv), 0, b"whole 1\nparent 7 5\n", b"", self.machine, 0.0, 0.0)

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        if self.fails:
            raise self.fails
        assert argv[:2] == ["perl", "-e"]
        assert f'print "{word}\\n"' in argv[2]
        return self

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        self.released += 1


def test_noted_file_is_taken_once_and_removed() -> None:
    node = Node()
    noting = Lineage(node)
    assert node.ran == []
    assert noting.noted() == Noted(whole=True, parents={7: 5})
    assert noting.noted() == Noted(whole=True, parents={7: 5})
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
def test_noted_where_nothing_can_be_held_is_nobody(error: Exception) -> None:
    node = Node(error)
    assert Lineage(node).noted() == Noted()
    assert node.ran == []
