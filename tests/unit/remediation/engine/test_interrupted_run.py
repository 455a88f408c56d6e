"""Killed anywhere: the status says so, nothing is applied over it, and all comes back exactly.

Every command of a run and of a rollback, before it, after it, with half of its input, and
between any two statements of its script, with the shell killed as well.
"""

import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines import process
from docker_lxc_gate.machines.transport import Transport
from remediation.actions.file_edit import Directory, FileEdit
from remediation.engine.action import Consequence, Step
from remediation.engine.apply import apply
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.death import Death, Died, comes_back, comes_back_wherever_killed
from tests.doubles.examples import examples
from tests.doubles.flag import ON, Flag, fail, journal, plan
from tests.doubles.states import Laid, edit, files, look

LARGE = Laid(content=b"\xff large\n" * 1000, mode=0o640, nanoseconds=10**18 + 7)
SMALL = Laid(content=b"no end", mode=0o4711, nanoseconds=1, attributes={"one": b"\xfe"})


@dataclass
class World:
    """Two files that are there, a directory that is not, and a file in it."""

    folder: Path
    large: Laid = LARGE
    small: Laid = SMALL

    def __post_init__(self) -> None:
        self.where = self.folder / "here"
        self.where.mkdir()
        self.large.at(self.where / "large")
        self.small.at(self.where / "small")

    def plan(self, death: Death | None = None) -> Plan:
        on = (death or Death()).under(ON)
        reload = Consequence("reload", "reload", lambda _: on.run(["true"]).require() and None)

        def edited(path: str) -> FileEdit:
            return FileEdit(path, path, "STEP-1.2", str(self.where / path), edit)

        steps = [
            Step(edited("large"), on, then=(reload,)),
            Step(edited("small"), on),
            Step(Directory("directory", "directory", "STEP-3.1", str(self.where / "new")), on),
            Step(edited("new/file"), on),
        ]
        return Plan(steps, journal(self.folder, on=on))

    def look(self) -> dict[str, tuple[object, ...]]:
        return look(self.where)


def test_run_or_rollback_that_is_killed_anywhere_comes_back() -> None:
    comes_back_wherever_killed(lambda name: World(Path(name)), World.look, ways=20)


deaths = st.tuples(st.integers(1, 60), st.sampled_from(["before", "after", "half", 1, 3, 5]))


@examples(40)
@given(large=files, small=files, ways=st.lists(deaths, min_size=1, max_size=4))
def test_killed_again_and_again_over_whatever_was_there(
    large: Laid, small: Laid, ways: list[tuple[int, str | int]]
) -> None:
    with TemporaryDirectory() as name:
        it = World(Path(name), large, small)
        before = it.look()
        for number, way in enumerate(ways):
            dying = it.plan(Death(*way))
            with suppress(Died):
                roll_back(dying) if number else apply(dying)
        comes_back(it, World.look, before, ways)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, None])
def test_apply_signalled_while_it_rolls_back_ends_after_the_rollback_and_says_so(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    first: signal.Signals | None,
    second: signal.Signals,
) -> None:
    """The first signal, or an error, begins the rollback."""
    monkeypatch.setattr(process, "_CAME", [])

    def cut_off(flag: Flag) -> None:
        flag.value = "new"
        signal.raise_signal(first) if first else fail(flag)

    class Signalled(Flag):
        def rollback(self, on: Transport, before: str) -> None:
            signal.raise_signal(second)
            super().rollback(on, before)

    flag = Signalled("one", on_apply=cut_off)
    it = plan(tmp_path, flag)
    with process.ended_as_by_ctrl_c(), pytest.raises(KeyboardInterrupt) as ended:
        apply(it)
    assert (flag.value, it.journal.interrupted()) == ("old", None)
    assert capfd.readouterr().err.startswith(f"… {second.name}: this ends when what was begun is ")
    assert isinstance(ended.value.__context__, RemediationError) is (first is None)
