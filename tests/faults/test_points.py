"""Where a run can be cut off, with real commands on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.interruption import FROM_NOW_ON, KINDS, Point, Points, point
from remediation.errors import TransportError
from remediation.transport import Local

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHORT, LONG = ["sh", "-c", "sleep 0"], ["sh", "-c", "sleep 1.1"]


def shares(argv: Sequence[str], *, stdin: bytes = b"") -> list[float]:
    points = Points(Local(), None, lambda: None)
    points.at("apply", "")
    points.run(argv, stdin=stdin)
    return [each.share for each in points.seen]


def test_every_change_is_a_point_and_looks_are_none() -> None:
    assert shares(SHORT) == [0.0]
    assert shares(["cat"], stdin=b"x") == []


def test_a_command_with_input_is_cut_in_the_middle_of_it() -> None:
    assert shares(["sh", "-c", "cat >/dev/null"], stdin=b"ab") == [0.0, 0.5]


def test_a_command_that_takes_long_is_cut_at_its_quarters() -> None:
    assert shares(LONG) == [0.0, 0.5, 0.25, 0.75]


def test_nothing_is_a_point_outside_the_stages() -> None:
    points = Points(Local(), None, lambda: None)
    points.run(SHORT)
    assert points.seen == []


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75])
def test_a_point_is_read_as_it_was_written(share: float) -> None:
    one = Point("roll back", 3, share, seconds=1.5)
    assert point(str(one)) == one


@pytest.mark.parametrize(("share", "there"), [(0.25, False), (0.75, True)])
def test_the_damage_is_done_when_the_share_of_time_has_passed(
    tmp_path: Path, share: float, there: bool
) -> None:
    flag, seen = tmp_path / "flag", list[bool]()
    chosen = Point("apply", 2, share, seconds=2.0)
    points = Points(Local(), chosen, lambda: seen.append(flag.exists()))
    points.at("apply", "")
    points.run(SHORT)
    with pytest.raises(TransportError, match="cut off inside"):
        points.run(["sh", "-c", 'sleep 1; touch "$1"; sleep 1', "sh", str(flag)])
    assert seen == [there]


def test_the_damage_is_done_when_the_share_of_input_was_read(tmp_path: Path) -> None:
    seen: list[bytes] = []
    file = tmp_path / "file"
    chosen = Point("apply", 1, 0.5)
    points = Points(Local(), chosen, lambda: seen.append(file.read_bytes()))
    points.at("apply", "")
    with pytest.raises(TransportError, match="cut off inside"):
        points.run(["sh", "-c", 'cat >"$1"', "sh", str(file)], stdin=b"0123456789")
    assert seen == [b"01234"]


def test_before_a_change_the_damage_is_done_and_the_change_is_tried(tmp_path: Path) -> None:
    flag, seen = tmp_path / "flag", list[bool]()
    points = Points(Local(), Point("undo", 1), lambda: seen.append(flag.exists()))
    points.at("undo", "")
    points.run(["sh", "-c", 'touch "$1"', "sh", str(flag)])
    assert seen == [False]
    assert flag.exists()


def test_which_ways_there_are_at_which_share() -> None:
    ways = {
        share: [kind for kind in KINDS if Point("apply", 1, share).can_be(kind)]
        for share in (0.0, 0.25, 0.5, 0.75)
    }
    assert ways[0.0] == list(KINDS)
    assert ways[0.5] == [kind for kind in KINDS if kind not in FROM_NOW_ON]
    assert ways[0.25] == ways[0.75] == ["power"]
