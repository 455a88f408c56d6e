"""``guard``: a command between two runs of the gate, and the way back for the container."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
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
        self.options = ["--yes"]
        self.refuses = b""
        self.snapshots: list[str] = []
        self.config = b"unprivileged: 1\n"
        self.verdicts: list[Run] = []
        self.asked: list[tuple[str, ...]] = []
        monkeypatch.setattr(guard.options, "opened", lambda _: nullcontext(self))
        monkeypatch.setattr(judged, "judge", self.judge)
        monkeypatch.setattr(guard.applied, "plan_of", lambda *_: ("plain", "nothing else is there"))
        monkeypatch.setattr(startable, "start", lambda *_: self.did.append("start"))

    def judge(self, _: object, *options: str) -> "Run":
        self.asked.append(options)
        return self.verdicts.pop(0)

    def run(self, argv: Sequence[str], **_: Any) -> CommandResult:
        assert self.controlled
        words = [word for word in argv if not word.startswith("guard")]
        self.did.append(" ".join(words[1:]))
        if words[1] == "snapshot" and not self.refuses:
            self.snapshots.append(argv[-1])
        if words[1] == "delsnapshot":
            self.snapshots.remove(argv[-1])
        failed = self.refuses if words[1] == "snapshot" else b""
        return CommandResult(tuple(argv), 255 if failed else 0, b"", failed, "pve1", 0.0, 0.0)

    def state(self, _: int) -> str:
        return "stopped" if "rollback 950" in self.did else "running"

    def read(self, _: str) -> bytes:
        return self.config + "".join(f"[{name}]\n" for name in self.snapshots).encode()

    def config_path(self, ctid: int) -> str:
        return f"/etc/pve/lxc/{ctid}.conf"

    def require_control(self, _: int) -> None:
        self.controlled = True

    def guarded(self, before: Verdict, after: Verdict, *command: str) -> Result:
        self.verdicts = [run({"a": before}), run({"a": after}, LATER)]
        words = ["guard", *self.options, "--target", "root@pve1/950", "--"]
        words += command or ("true",)
        return CliRunner().invoke(main, words, catch_exceptions=False)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


MADE, REMOVED = ["snapshot 950"], ["snapshot 950", "delsnapshot 950"]
BACK = ["snapshot 950", "rollback 950", "start", "delsnapshot 950"]


@pytest.mark.parametrize(
    ("options", "asked"),
    [([], ()), (["--allow-mutation"], ("--allow-mutation", "-k", "not mutates or VAL-3"))],
)
def test_guard_asks_the_same_before_and_afterwards(
    node: Node, options: list[str], asked: tuple[str, ...]
) -> None:
    node.options += options
    assert node.guarded(GREEN, GREEN).exit_code == 0
    assert node.asked == [asked, asked]


@pytest.mark.parametrize(
    ("verdicts", "script", "ends", "said"),
    [
        ((GREEN, GREEN), "true", (0, REMOVED), "no scenario broke"),
        ((RED, RED), "exit 7", (7, MADE), "sh ended with 7; by the gate"),
        # One that is no verdict's: nothing broke, and 1 would say so.
        ((RED, RED), "exit 1", (3, MADE), "sh ended with 1; by the gate"),
        ((RED, RED), "exit 6", (3, MADE), "no scenario broke"),
        ((RED, RED), "kill -9 $$", (137, MADE), "sh ended with 137"),
        ((GREEN, RED), "true", (1, BACK), "broken: "),
        ((GREEN, RED), "exit 7", (1, BACK), "sh ended with 7"),
        ((GREEN, UNKNOWN), "true", (3, MADE), " stays"),
        ((GREEN, UNKNOWN), "exit 7", (3, MADE), "sh ended with 7"),
    ],
)
def test_guard_ends_with_the_verdict_or_the_commands_code_and_goes_back_if_something_broke(
    node: Node,
    verdicts: tuple[Verdict, Verdict],
    script: str,
    ends: tuple[int, list[str]],
    said: str,
) -> None:
    done = node.guarded(*verdicts, "sh", "-c", script)
    assert (done.exit_code, node.did) == ends
    assert said in done.output


def test_guard_of_a_file_that_no_kernel_runs_ends_as_a_shell_does(
    node: Node, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("no program\n")
    (tmp_path / "x").chmod(0o755)
    done = node.guarded(GREEN, GREEN, str(tmp_path / "x"))
    assert done.exit_code == 126
    assert "Exec format error" in done.output
    assert node.did == ["snapshot 950"]


@pytest.mark.parametrize("command", ["nosuchprogram", "/nosuch/program"])
def test_guard_of_no_program_does_nothing(node: Node, command: str) -> None:
    assert node.guarded(GREEN, GREEN, command).exit_code == 2
    assert node.did == []


def test_guard_makes_no_snapshot_that_might_freeze_the_container(node: Node) -> None:
    node.config += b"features: fuse=1,nesting=1\n"
    done = node.guarded(GREEN, RED)
    assert node.did == []
    assert "/dev/fuse" in done.output


def test_guard_without_a_snapshot_says_so_before_and_afterwards(node: Node) -> None:
    node.refuses = NO_SNAPSHOT
    done = node.guarded(GREEN, RED)
    assert done.exit_code == 1
    assert node.did == ["snapshot 950"]
    assert "no way back from it: its storage" in done.output
    assert "restore a backup" in done.output
