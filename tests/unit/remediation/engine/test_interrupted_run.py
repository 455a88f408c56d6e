"""Killed anywhere: the status says so, nothing is applied over it, and all comes back exactly.

Every command of a run and of a rollback, before it, after it, with half of its input, and
between any two statements of its script, with the shell killed as well.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.actions.file_edit import Directory, FileEdit
from remediation.engine.action import Consequence, Step
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean
from remediation.engine.journal import Journal
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.death import SAMPLED, Death, Died
from tests.doubles.examples import examples
from tests.doubles.flag import ON
from tests.doubles.states import Laid, edit, files, look

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGE = Laid(content=b"\xff large\n" * 1000, mode=0o640, nanoseconds=10**18 + 7)
SMALL = Laid(content=b"no end", mode=0o4711, nanoseconds=1, attributes={"one": b"\xfe"})


def plan(folder: Path, death: Death) -> Plan:
    """Return the plan of two files that are there, a directory that is not, and a file in it."""
    on, where = death.under(ON), folder / "here"
    paths = [where / "large", where / "small", where / "new/file"]
    steps = [
        *(
            Step(FileEdit(path.name, path.name, "STEP-1.2", str(path), edit), on)
            for path in paths[:2]
        ),
        Step(Directory("directory", "directory", "STEP-3.1", str(where / "new")), on),
        Step(FileEdit("file", "file", "STEP-3.1", str(paths[2]), edit), on),
    ]
    reload = (Consequence("reload", "reload", lambda: on.run(["true"]).require() and None),)
    steps[0] = Step(steps[0].action, on, then=reload)
    return Plan(steps, Journal(on, 950, str(folder / "journal")))


def laid(folder: Path, large: Laid = LARGE, small: Laid = SMALL) -> dict[str, tuple[object, ...]]:
    where = folder / "here"
    where.mkdir()
    large.at(where / "large")
    small.at(where / "small")
    return look(where)


def killed(folder: Path, death: Death, *, applying: bool) -> None:
    it = plan(folder, death)
    with pytest.raises(Died):
        apply(it) if applying else roll_back(it)


def comes_back(folder: Path, before: dict[str, tuple[object, ...]]) -> None:
    """A fresh program finds the truth, refuses to go on, and rolls everything back."""
    again = plan(folder, Death())
    if again.journal.unfinished():
        with pytest.raises(NotClean):
            apply(plan(folder, Death()))
    elif again.journal.entries():  # killed after its last word, or before the first of a rollback
        assert all(drift is None for _, drift in again.drifts())
    else:
        assert look(folder / "here") == before
    roll_back(plan(folder, Death()))
    assert look(folder / "here") == before
    assert not plan(folder, Death()).journal.unfinished()
    assert roll_back(plan(folder, Death())) == []


def stages_of(ways: Iterable[tuple[int, str | int]], part: int) -> list[tuple[int, str | int]]:
    return [way for number, way in enumerate(ways) if number % PARTS == part]


PARTS = 2


@SAMPLED
@pytest.mark.parametrize("part", range(PARTS))
def test_run_that_is_killed_anywhere_comes_back(part: int, one_in: int) -> None:
    whole = Death()
    with TemporaryDirectory() as name:
        laid(Path(name))
        apply(plan(Path(name), whole))
    ways = stages_of(whole.ways(), part)
    assert len(ways) > 20  # some in each half, or nothing was proved
    for way in ways[::one_in]:
        with TemporaryDirectory() as name:
            before = laid(Path(name))
            killed(Path(name), Death(*way), applying=True)
            comes_back(Path(name), before)


@SAMPLED
@pytest.mark.parametrize("part", range(PARTS))
def test_rollback_that_is_killed_anywhere_is_done_again(part: int, one_in: int) -> None:
    whole = Death()
    with TemporaryDirectory() as name:
        laid(Path(name))
        apply(plan(Path(name), Death()))
        roll_back(plan(Path(name), whole))
    ways = stages_of(whole.ways(), part)
    assert len(ways) > 20  # some in each half, or nothing was proved
    for way in ways[::one_in]:
        with TemporaryDirectory() as name:
            before = laid(Path(name))
            apply(plan(Path(name), Death()))
            killed(Path(name), Death(*way), applying=False)
            comes_back(Path(name), before)


deaths = st.tuples(st.integers(1, 60), st.sampled_from(["before", "after", "half", 1, 3, 5]))


@examples(40)
@given(large=files, small=files, ways=st.lists(deaths, min_size=1, max_size=4))
def test_killed_again_and_again_over_whatever_was_there(
    large: Laid, small: Laid, ways: list[tuple[int, str | int]]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        before = laid(folder, large, small)
        for number, way in enumerate(ways):
            it = plan(folder, Death(*way))
            try:
                roll_back(it) if number else apply(it)
            except Died:
                continue
        comes_back(folder, before)


def test_each_stage_is_told_of_before_it_is_entered() -> None:
    """The sweep of interruptions cuts a run off by these: all of them must be there."""
    told: list[str] = []
    with TemporaryDirectory() as name:
        laid(Path(name))
        for run in (apply, roll_back):
            run(replace(plan(Path(name), Death()), at=lambda stage, _: told.append(stage)))
    assert list(dict.fromkeys(told)) == [
        *("record", "apply", "complete", "consequence", "finish"),
        *("begin rollback", "restore", "close"),
    ]
