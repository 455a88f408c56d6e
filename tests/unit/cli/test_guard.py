"""``guard``: a command between two runs of the gate, and the way back for the container."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from docker_lxc_gate.cli import guard, judged
from docker_lxc_gate.cli.group import main
from docker_lxc_gate.facts import startable
from docker_lxc_gate.machines.result import CommandResult
from tests.unit.verdict.test_comparison import GREEN, LATER, RED, UNKNOWN, Verdict, run

if TYPE_CHECKING:
    from docker_lxc_gate.verdict.record import Run

NO_SNAPSHOT = b"snapshot feature is not available\n"


class Node:
    """A node with pct, whose container stops when it goes back to a snapshot."""

    kind = "pct"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = self
        self.did: list[str] = []
        self.refuses = b""
        self.verdicts: list[Run] = []
        monkeypatch.setattr(guard.options, "opened", lambda _: nullcontext(self))
        monkeypatch.setattr(judged, "read_only", lambda _: self.verdicts.pop(0))
        monkeypatch.setattr(startable, "start", lambda *_: self.did.append("start"))

    def run(self, argv: Sequence[str], **_: Any) -> CommandResult:
        words = [word for word in argv if not word.startswith("guard")]
        self.did.append(" ".join(words[1:]))
        failed = self.refuses if words[1] == "snapshot" else b""
        return CommandResult(tuple(argv), 255 if failed else 0, b"", failed, "pve1", 0.0, 0.0)

    def state(self, _: int) -> str:
        return "stopped"

    def guarded(self, before: Verdict, after: Verdict, *command: str) -> Result:
        self.verdicts = [run({"a": before}), run({"a": after}, LATER)]
        words = ["guard", "--yes", "--target", "root@pve1/950", "--", *(command or ("true",))]
        return CliRunner().invoke(main, words, catch_exceptions=False)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def test_guard_of_a_command_that_breaks_nothing_removes_its_snapshot(node: Node) -> None:
    assert node.guarded(GREEN, GREEN).exit_code == 0
    assert node.did == ["snapshot 950", "delsnapshot 950"]
    assert node.guarded(RED, RED, "sh", "-c", "exit 7").exit_code == 7


def test_guard_takes_the_container_back_if_something_broke(node: Node) -> None:
    done = node.guarded(GREEN, RED)
    assert done.exit_code == 1
    assert node.did == ["snapshot 950", "rollback 950", "start", "delsnapshot 950"]
    assert "broken: " in done.output


def test_guard_without_a_snapshot_says_so_before_and_afterwards(node: Node) -> None:
    node.refuses = NO_SNAPSHOT
    done = node.guarded(GREEN, RED)
    assert done.exit_code == 1
    assert node.did == ["snapshot 950"]
    assert "packages have no way back" in done.output
    assert "pct restore" in done.output


def test_guard_keeps_the_snapshot_if_nobody_can_tell_whether_something_broke(node: Node) -> None:
    done = node.guarded(GREEN, UNKNOWN)
    assert done.exit_code == 3
    assert node.did == ["snapshot 950"]
    assert " stays" in done.output
