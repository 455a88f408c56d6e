"""Who started whom: of real processes where the kernel tells, and of nobody where it does not."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from facts.process_tree import ProcessNotes, ProcessWatch, parse
from targets.errors import CommandFailed, TransportError
from targets.transport import CommandResult, Local
from tests.doubles.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.transport import Hold


def test_notes_of_a_process_that_has_ended_has_its_parent() -> None:
    watch = ProcessWatch(Local())
    argv = ["sh", "-c", "sleep 0.1 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
    notes = watch.notes()
    if notes.lost:
        pytest.skip("this machine does not tell of its processes")
    assert notes.parents[child] == shell.pid
    assert notes.parents[shell.pid] == os.getpid()
    assert watch.notes() == notes, "asked again, it says the same"


def test_parse_notes_have_parents_containers_and_profiles() -> None:
    text = "parent 7 5\nprocess 7 950\nprocess 7 952\nprocess 8 web\n"
    text += "profile 950 lxc-a\nprofile 950 lxc-b\nprofile web lxc-a\nwhole\n"
    notes = parse(text)
    assert not notes.lost
    assert notes.parents == {7: 5}
    assert notes.containers == {7: {"950", "952"}, 8: {"web"}}
    assert notes.containers_under("lxc-a") == {"950", "web"}
    assert notes.containers_under("lxc-b") == {"950"}
    assert notes.containers_under("lxc-c") == frozenset()
    assert parse("") == ProcessNotes()
    assert ProcessNotes().lost


@pytest.mark.parametrize(
    ("end", "lost"),
    [
        ("whole\n", ""),
        ("lost more than 200000 processes started\n", "more than 200000 processes started"),
        ("lost a\x1b[2J\n", r"a\x1b[2J"),
        ("", ProcessNotes.lost),
        ("whol", ProcessNotes.lost),
    ],
)
def test_parse_notes_without_their_end_are_not_whole(end: str, lost: str) -> None:
    notes = parse(f"parent 7 5\nprocess 7 950\n{end}")
    assert (notes.lost, notes.parents) == (lost, {7: 5})


class Node(Answering):
    """Holds a command, or does not; and has a file that was written."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(lambda _: b"parent 7 5\nwhole\n", "the node")
        self.fails, self.released = fails, 0

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


def test_notes_are_read_once_and_their_file_is_removed() -> None:
    node = Node()
    watch = ProcessWatch(node)
    assert node.ran == []
    assert watch.notes() == ProcessNotes("", {7: 5})
    assert watch.notes() == ProcessNotes("", {7: 5})
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
def test_notes_where_no_program_can_be_held_are_empty(error: Exception) -> None:
    node = Node(error)
    assert ProcessWatch(node).notes() == ProcessNotes()
    assert node.ran == []
