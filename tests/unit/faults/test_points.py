"""Where a run can be cut off, with real commands on this machine."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from targets.errors import TransportError
from targets.transport import Local
from tests.live import interruption
from tests.live.interruption import ENDED, Point, Points, point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.transport import CommandResult

SHORT = ["sh", "-c", "sleep 0"]


def shares(argv: Sequence[str], *, stdin: bytes = b"") -> list[float]:
    points = Points(Local())
    points.at("apply", "")
    points.run(argv, stdin=stdin)
    return [each.share for each in points.seen]


def test_every_change_is_a_point_and_looks_are_none() -> None:
    assert shares(SHORT) == [0.0]
    assert shares(["test", "-d", "/"]) == []


@pytest.mark.parametrize("long", [1.0, 0.0])
def test_a_command_with_input_is_cut_in_the_middle_of_it_however_long_it_takes(
    long: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "_LONG", long)
    assert shares(["sh", "-c", "cat >/dev/null"], stdin=b"ab") == [0.0, 0.5]


def test_a_command_that_takes_long_is_cut_in_its_middle_and_at_its_quarters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interruption, "_LONG", 0.0)
    assert sorted(shares(SHORT)) == [0.0, 0.25, 0.5, 0.75]


def test_nothing_is_a_point_outside_the_stages() -> None:
    points = Points(Local())
    points.run(SHORT)
    assert points.seen == []


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75])
def test_a_point_is_read_as_it_was_written(share: float) -> None:
    one = Point("begin rollback", 3, share, "sh -c one: two", seconds=1.5)
    assert point(str(one)) == one


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_damage_is_done_when_the_share_of_time_has_passed(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    flag, seen = tmp_path / "flag", list[float]()

    def damage() -> None:
        seen.append(time.monotonic())
        flag.touch()  # which ends the command

    points = Points(Local(), Point("apply", 2, share, seconds=2.0), damage)
    points.at("apply", "")
    points.run(SHORT)
    started = time.monotonic()
    with pytest.raises(TransportError, match="cut off inside"):
        points.run(["sh", "-c", 'until test -e "$1"; do sleep 0.05; done', "sh", str(flag)])
    assert [share * 2 <= each - started < share * 2 + 1 for each in seen] == [True]
    assert ENDED not in capsys.readouterr().err


def test_a_command_that_ended_before_its_share_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    points = Points(Local(), Point("apply", 1, 0.75, seconds=3600.0), lambda: None)
    points.at("apply", "")
    with pytest.raises(TransportError):
        points.run(SHORT)
    assert re.fullmatch(rf"{ENDED} [0-9]\.[0-9]+ s\n", capsys.readouterr().err)


def test_the_damage_is_done_when_the_share_of_input_was_read(tmp_path: Path) -> None:
    file, seen = tmp_path / "file", list[bytes]()
    points = Points(Local(), Point("apply", 1, 0.5), lambda: seen.append(file.read_bytes()))
    points.at("apply", "")
    with pytest.raises(TransportError, match="cut off inside"):
        points.run(["sh", "-c", 'cat >"$1"', "sh", str(file)], stdin=b"0123456789")
    assert seen == [b"01234"]


def test_a_share_of_input_that_did_not_arrive_is_no_cut() -> None:
    seen: list[str] = []
    points = Points(Deaf(), Point("record", 1, 0.5), lambda: seen.append("damage"))
    points.at("record", "")
    with pytest.raises(TransportError, match="no answer"):
        points.run(["sh", "-c", "cat"], stdin=b"an entry")
    assert seen == []


def test_before_a_change_the_damage_is_done_and_the_change_is_tried(tmp_path: Path) -> None:
    flag, seen = tmp_path / "flag", list[bool]()
    points = Points(Local(), Point("restore", 1), lambda: seen.append(flag.exists()))
    points.at("restore", "")
    points.run(["sh", "-c", 'touch "$1"', "sh", str(flag)])
    assert seen == [False]
    assert flag.exists()


def test_the_damage_is_done_once_though_the_stage_comes_again() -> None:
    """A run that is cut off rolls itself back, and runs its consequences a second time."""
    seen: list[str] = []
    points = Points(Local(), Point("consequence", 2), lambda: seen.append("damage"))
    for stage in ("apply", "consequence", "restore", "consequence"):
        points.at(stage, "one action")
        points.run(SHORT)
        points.at(stage, "another action")
        points.run(SHORT)
    assert seen == ["damage"]
    assert [each.number for each in points.seen] == [1, 2] * 4


#: Fails three times, and then succeeds: what its caller asks until then.
READY = ["sh", "-c", 'echo >>"$1"; sleep 0.3; test "$(wc -l <"$1")" -gt 3', "sh"]


def wait_for(points: Points, file: Path) -> int:
    """Ask until it is ready; return how often that was."""
    return next(asked for asked in range(1, 9) if points.run([*READY, str(file)]).ok)


def test_what_is_waited_for_is_one_change_however_often_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "_LONG", 0.9)  # no single one of them takes that long
    points = Points(Local())
    points.at("consequence", "")
    assert wait_for(points, tmp_path / "one") == 4
    points.run([*READY, str(tmp_path / "one")])  # it had succeeded: asked once more, it counts anew
    points.run(["false"])
    points.at("close", "")
    points.run(["false"])
    assert [(each.stage, each.number) for each in points.seen if not each.share] == [
        *[("consequence", number) for number in (1, 2, 3)],
        ("close", 1),
    ]
    inside = [each for each in points.seen if each.share]
    assert [(each.number, each.share) for each in inside] == [(1, 0.5), (1, 0.25), (1, 0.75)]
    assert all(1.2 < each.seconds < 3 for each in inside)


def test_what_is_waited_for_is_cut_in_the_time_of_the_whole_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, seen = tmp_path / "file", list[str]()
    chosen = Point("consequence", 1, 0.5, seconds=1.4)
    points = Points(Local(), chosen, lambda: seen.append(file.read_text()))
    points.at("consequence", "")
    with pytest.raises(TransportError, match="cut off inside"):
        wait_for(points, file)
    assert seen in (
        ["\n" * 3],
        ["\n" * 2],
    )  # as the third was asked; or, on a slow machine, the second
    assert ENDED not in capsys.readouterr().err


class Deaf(Local):
    """A machine that does not answer the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.asked += 1
        if self.asked == 1:
            raise TransportError("no answer")
        return super().run(argv, stdin=stdin, timeout=timeout)


@pytest.mark.parametrize("chosen", [None, Point("consequence", 1, 0.5, seconds=60.0)])
def test_what_had_no_answer_and_is_asked_again_is_one_change(chosen: Point | None) -> None:
    points = Points(Deaf(), chosen, lambda: None)
    points.at("consequence", "")
    with pytest.raises(TransportError, match="no answer"):
        points.run(SHORT)
    if chosen:
        with pytest.raises(TransportError, match="cut off inside"):
            points.run(SHORT)
    else:
        points.run(SHORT)
        points.run(["sh", "-c", "true"])
        assert [each.number for each in points.seen] == [1, 2]


def test_input_that_could_not_be_taken_and_is_given_again_counts_twice() -> None:
    points = Points(Local())
    points.at("record", "")
    for _ in range(2):
        points.run(["sh", "-c", "cat; exit 1"], stdin=b"an entry")
    assert [each.number for each in points.seen if not each.share] == [1, 2]


def test_a_point_that_was_counted_is_come_to_once_before_its_command() -> None:
    def commands(run: int) -> list[list[str]]:
        texts = (f": a:b\n: {'long ' * 20}{run}", f": mv /taken-back-{run * 12345}", ": end")
        return [["sh", "-c", text] for text in texts]

    counted = Points(Local())
    counted.at("restore", "")
    for argv in commands(0):
        counted.run(argv)
    assert len(counted.seen) == 3
    for run, there in enumerate(counted.seen, start=1):
        seen: list[tuple[str, int]] = []
        points = Points(Local(), point(str(there)), lambda: seen.append(now))  # noqa: B023
        for stage in ("apply", "restore"):
            points.at(stage, "")
            for number, argv in enumerate(commands(run), start=1):
                now = (stage, number)
                points.run(argv)
        assert seen == [("restore", run)]


def test_another_command_in_the_place_of_the_one_that_was_counted_is_not_its_point() -> None:
    seen: list[str] = []
    points = Points(Local(), Point("restore", 1, 0.0, "sh -c sync"), lambda: seen.append("damage"))
    points.at("restore", "")
    points.run(SHORT)
    assert seen == []


@pytest.mark.parametrize(
    ("share", "ways"),
    [
        (0.0, {"killed", "interrupted", "cut", "power", "full", "readonly"}),
        (0.25, {"power"}),
        (0.5, {"killed", "interrupted", "cut", "power"}),
        (0.75, {"power"}),
    ],
)
def test_which_ways_there_are_at_which_share(share: float, ways: set[str]) -> None:
    there = Point("apply", 1, share)
    assert {kind for kind in interruption.KINDS if there.can_be(kind)} == ways


@pytest.mark.parametrize(("told", "code"), [("", 0), ('["950"]\n', 1)])
def test_a_run_that_is_to_be_cut_off_is_a_program_that_reads_what_to_do(
    told: str, code: int
) -> None:
    root = Path(__file__).parents[3]
    run = subprocess.run(
        interruption.PROGRAM, cwd=root, input=told, capture_output=True, text=True, check=False
    )
    assert (run.returncode, "main() missing 4 required" in run.stderr) == (code, bool(told))
