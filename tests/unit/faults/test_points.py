"""Where a run can be cut off, with real commands on this machine."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.transport import Local
from tests.doubles.answering import Answering
from tests.live.interrupted import interruption
from tests.live.interrupted.interruption import ENDED, Point, Points

SHORT, CAT = ["sh", "-c", "sleep 0"], ["sh", "-c", "cat >/dev/null"]


@pytest.mark.parametrize(
    ("long", "argv", "stdin", "shares"),
    [
        (1.0, SHORT, b"", [0.0]),
        (0.0, SHORT, b"", [0.0, 0.5, 0.25, 0.75]),
        (1.0, CAT, b"ab", [0.0, 0.5]),
        (0.0, CAT, b"ab", [0.0, 0.5]),
    ],
)
def test_points_of_a_command_are_its_begin_and_if_it_is_long_or_has_input_shares_of_it(
    long: float,
    argv: Sequence[str],
    stdin: bytes,
    shares: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interruption, "_LONG", long)
    points = Points(Local())
    points.at("apply", "")
    points.run(argv, stdin=stdin)
    points.look(SHORT)
    assert [each.share for each in points.seen] == shares


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_damage_is_done_when_the_share_of_time_has_passed(
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
    with pytest.raises(TransportError):
        points.run(["sh", "-c", 'until test -e "$1"; do sleep 0.05; done', "sh", str(flag)])
    assert [share * 2 <= each - started < share * 2 + 1 for each in seen] == [True]
    assert ENDED not in capsys.readouterr().err


def test_damage_is_done_when_the_share_of_input_was_read(tmp_path: Path) -> None:
    file, seen = tmp_path / "file", list[bytes]()
    points = Points(Local(), Point("apply", 1, 0.5), lambda: seen.append(file.read_bytes()))
    points.at("apply", "")
    with pytest.raises(TransportError):
        points.run(["sh", "-c", 'cat >"$1"', "sh", str(file)], stdin=b"0123456789")
    assert seen == [b"01234"]


#: Fails three times, and then succeeds: what its caller asks until then.
READY = ["sh", "-c", 'echo >>"$1"; sleep 0.3; test "$(wc -l <"$1")" -gt 3', "sh"]


def wait_for(points: Points, file: Path) -> int:
    """Ask until it is ready; return how often that was."""
    return next(asked for asked in range(1, 9) if points.run([*READY, str(file)]).ok)


def test_points_of_a_command_asked_again_are_those_of_one_change(
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


def deaf() -> Answering:
    """Return a machine that does not answer the first time."""
    errors = iter([TransportError("no answer")])

    def answer(_: list[str]) -> None:
        for error in errors:
            raise error

    return Answering(answer, behind=Local())


@pytest.mark.parametrize("chosen", [None, Point("consequence", 1, 0.5, seconds=60.0)])
def test_points_of_a_command_without_an_answer_asked_again_are_one(chosen: Point | None) -> None:
    seen: list[str] = []
    points = Points(deaf(), chosen, lambda: seen.append("damage"))
    points.at("consequence", "")
    with pytest.raises(TransportError):
        points.run(SHORT)
    assert seen == []
    if chosen:
        with pytest.raises(TransportError):
            points.run(SHORT)
        assert seen == ["damage"]
    else:
        points.run(SHORT)
        points.run(["sh", "-c", "true"])
        assert [each.number for each in points.seen] == [1, 2]


def test_point_at_another_command_is_not_reached() -> None:
    seen: list[str] = []
    points = Points(Local(), Point("restore", 1, 0.0, "sh -c sync"), lambda: seen.append("damage"))
    points.at("restore", "")
    points.run(SHORT)
    assert seen == []
