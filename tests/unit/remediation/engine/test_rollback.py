"""Rolling back: each action on its own, in reverse order, verified afterwards."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.errors import RemediationError, UsageError
from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines.transport import Transport
from remediation.actions.file_edit import Directory, FileEdit
from remediation.engine.action import Action, Consequence, Place, Step
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince, NotClean, RollbackFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import SYNC, roll_back, rollback_side_effects
from tests.doubles.answering import Answer, Answering
from tests.doubles.flag import ON, Flag, journal, no_space, plan
from tests.doubles.naming import naming


def test_rollback_with_a_failing_consequence_runs_the_others(tmp_path: Path) -> None:
    ran: list[str] = []
    broken = False

    def reload(_: object) -> None:
        ran.append("reload")
        if broken:
            raise RemediationError("no reload")

    one, two = Flag("one"), Flag("two", "STEP-2.1")
    runs = Consequence("runs", "runs", lambda _: ran.append("runs"))
    steps = [Step(one, ON, (Consequence("reload", "reload", reload),)), Step(two, ON, (runs,))]
    it = Plan(steps, journal(tmp_path))
    apply(it)
    broken = True
    for _ in range(2):
        with naming(RollbackFailed, "reload: no reload"):
            roll_back(it)
        assert (one.value, two.value) == ("old", "old")
        assert [entry.action for entry in it.journal.entries()] == ["one"]
        assert it.journal.interrupted()
        with pytest.raises(NotClean):
            apply(it)
    broken = False
    (outcome,) = roll_back(it)
    assert (outcome.id, outcome.changed) == ("one", False)
    assert ran == ["reload", "runs", "runs", "reload", "reload", "reload"]
    assert it.journal.entries() == []
    assert not it.journal.interrupted()


def test_rollback_follows_the_plans_order_and_not_the_journals(tmp_path: Path) -> None:
    """An action that was right at first, and spoilt by an earlier one, is recorded last."""
    made = tmp_path / "made"
    made.mkdir()

    def removes(flag: Flag) -> None:
        made.rmdir()
        flag.value = "new"

    directory = Directory("directory", "directory", "STEP-3.1", str(made))
    file = FileEdit("file", "file", "STEP-3.1", str(made / "file"), lambda _: b"ours")
    it = plan(tmp_path, Flag("one", on_apply=removes), directory, file)
    assert [outcome.changed for outcome in apply(it)] == [True, True, True]
    assert [outcome.id for outcome in roll_back(it)] == ["file", "directory", "one"]
    assert not made.exists()


def test_rollback_of_a_part_of_an_unfinished_run_does_not_finish_it(tmp_path: Path) -> None:
    """Killed between two actions: the one that was not begun is in the journal, too."""
    one, two, three = Flag("one", "STEP-1.2"), Flag("two", "STEP-2.1"), Flag("three", "STEP-3.1")
    it = plan(tmp_path, one, two, three)
    it.journal.record([(name, Place.NODE, "old") for name in ("one", "two", "three")])
    one.value = "new"
    it.journal.complete("one", Place.NODE, "new")
    two.value = "half"
    for part, left in (("STEP-1", ["two", "three"]), ("STEP-3", ["two"])):
        roll_back(it.only([part]))
        assert [entry.action for entry in journal(tmp_path).entries()] == left
        assert journal(tmp_path).interrupted()
        with pytest.raises(NotClean):
            apply(plan(tmp_path, one, two, three))
    assert (one.value, two.value) == ("old", "half")
    roll_back(it.only(["STEP-2"]))
    assert two.value == "old"
    assert not journal(tmp_path).interrupted()


def test_only_takes_a_clause_or_an_actions_id_and_no_title(tmp_path: Path) -> None:
    one, two = Flag("one", "STEP-1.2"), Flag("two", "STEP-1.20")
    it = plan(tmp_path, one, two)
    apply(it.only(["STEP-1.2"]))
    assert (one.value, two.value) == ("new", "old")
    assert it.only([]) is it
    apply(it.only(["two"]))
    assert (one.value, two.value) == ("new", "new")
    assert [outcome.id for outcome in roll_back(it.only(["one"]))] == ["one"]
    with naming(UsageError, "STEP-1.2, STEP-1.20, one, two"):
        it.only(["the flag two"])


def deferring(
    folder: Path, one: Action[Any], inside: Flag, start: Callable[[], AbstractContextManager[None]]
) -> Plan:
    """A plan of two actions, the second in a container that does not run."""
    deferred = [Step(inside, ON, place=Place.CONTAINER)]
    return replace(plan(folder, one), deferred=deferred, start_container=start)


def test_refused_rollback_starts_no_container(tmp_path: Path) -> None:
    """Somebody may have stopped it to edit just the file that is in the way."""
    one = FileEdit("one", "one", "STEP-1.1", str(tmp_path / "one"), lambda _: b"ours")
    two = Flag("two")
    apply(plan(tmp_path, one, two))
    (tmp_path / "one").write_bytes(b"theirs")
    it = deferring(tmp_path, one, two, lambda: pytest.fail("it is started"))
    with pytest.raises(ChangedSince):
        roll_back(it)
    assert (two.value, it.journal.interrupted()) == ("new", None)


@pytest.mark.parametrize(
    "error",
    [RemediationError("does not boot"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "unforeseen")],
    ids=["an error", "an unforeseen one"],
)
def test_container_that_cannot_start_stops_no_others(tmp_path: Path, error: Exception) -> None:
    starts = False

    def start_container() -> AbstractContextManager[None]:
        if not starts:
            raise error
        return nullcontext()

    one, inside = Flag("one"), Flag("inside")
    apply(plan(tmp_path, one, inside))
    it = deferring(tmp_path, one, inside, start_container)
    with naming(RollbackFailed, "inside"):
        roll_back(it)
    assert (one.value, inside.value) == ("old", "new")
    assert [entry.action for entry in it.journal.entries()] == ["inside"]
    assert it.journal.interrupted()
    starts = True
    assert [outcome.id for outcome in roll_back(it)] == ["inside"]
    assert (inside.value, it.journal.interrupted()) == ("old", None)


def test_container_stopped_by_rollback_is_started_to_be_verified(tmp_path: Path) -> None:
    """Applied while it was stopped, and again when it ran: it is stopped in the end."""
    runs = True

    class Options(Flag):
        def rollback(self, on: Transport, before: str) -> None:
            nonlocal runs
            super().rollback(on, before)
            runs = False

    class Inside(Flag):
        def capture(self, on: Transport) -> str:
            if not runs:
                raise RemediationError("is not running")
            return super().capture(on)

    @contextmanager
    def start_container() -> Iterator[None]:
        nonlocal runs
        runs = True
        yield
        runs = False

    ran: list[bool] = []
    then = (Consequence("Docker as before", "Docker as before", lambda _: ran.append(runs)),)
    inside = Step(Inside("inside"), ON, then, place=Place.CONTAINER)
    steps = [Step(Options("options"), ON), inside]
    it = Plan(
        steps,
        journal(tmp_path),
        start_container=start_container,
        stopped_by_rollback=lambda: not runs,
    )
    apply(it)
    assert [outcome.id for outcome in roll_back(it)] == ["inside", "options"]
    assert ran == [True, True]
    assert not runs
    assert not it.journal.interrupted()


def test_rollback_that_fails_after_the_state_is_back_does_not_say_it_is_in_place(
    tmp_path: Path,
) -> None:
    """The container is configured as before, but did not boot in time."""

    class Options(Flag):
        def rollback(self, on: Transport, before: str) -> None:
            super().rollback(on, before)
            raise RemediationError("has not booted within 180 s")

    one = Options("one")
    apply(plan(tmp_path, one))
    with naming(RollbackFailed, "the flag one", "afterwards", "not booted", "Run rollback") as said:
        roll_back(plan(tmp_path, one))
    assert "in place" not in str(said.value)


@pytest.mark.parametrize("began", [False, True])
def test_rollback_starts_a_container_only_if_something_was_begun_in_it(
    tmp_path: Path, began: bool
) -> None:
    """The run was killed while it had the container stopped, or later, inside of it."""
    options, inside = Flag("options", value="new"), Flag("inside", value="new" if began else "old")
    starts: list[str] = []

    def start_container() -> AbstractContextManager[None]:
        starts.append("started")
        return nullcontext()

    it = deferring(tmp_path, options, inside, start_container)
    it.journal.record([("options", Place.NODE, "old"), ("inside", Place.CONTAINER, "old")])
    if began:
        it.journal.complete("options", Place.NODE, "new")
    assert ["started" in str(each) for each in rollback_side_effects(it)] == [True] * began
    roll_back(it)
    assert starts == ["started"] * began
    assert (options.value, inside.value) == ("old", "old")
    assert (it.journal.entries(), it.journal.interrupted()) == ([], None)


def test_before_images_that_cannot_be_read_stop_no_other_rollback(tmp_path: Path) -> None:
    one = FileEdit("one", "one", "STEP-1.1", str(tmp_path / "one"), lambda _: b"1" * 5000)
    two = FileEdit("two", "two", "STEP-1.2", str(tmp_path / "two"), lambda _: b"2")
    three = FileEdit("three", "three", "STEP-1.3", str(tmp_path / "three"), lambda _: b"3")
    (tmp_path / "two").write_bytes(b"b" * 5000)
    (tmp_path / "three").write_bytes(b"former")
    it = plan(tmp_path, one, two, three)
    apply(it)
    for large in (tmp_path / "journal/contents").iterdir():
        large.unlink()  # what "one" left, and what "two" found
    it = plan(tmp_path, one, two, three)  # another run: this one still knows what it has stored
    with pytest.raises(RollbackFailed) as caught:
        roll_back(it)
    assert [name for name, _ in caught.value.failures] == ["two"]
    assert "is missing" in str(caught.value)
    assert (tmp_path / "three").read_bytes() == b"former"
    assert not (tmp_path / "one").exists()
    assert [entry.action for entry in it.journal.entries()] == ["two"]


def test_side_effects_that_cannot_be_read_are_unknown(tmp_path: Path) -> None:
    class Dear(Flag):
        def side_effects(self, on: Transport, before: object) -> list[str]:
            raise RemediationError("hangs")

    it = plan(tmp_path, Flag("one"), Dear("two"))
    apply(it)
    assert list(map(str, rollback_side_effects(it))) == [
        "the flag two: what is stopped for it is unknown: hangs"
    ]


def test_rollback_that_is_not_synced_is_not_in_the_journal(tmp_path: Path) -> None:
    full = True

    def answer(words: list[str]) -> Answer | None:
        return (1, b"", b"I/O error") if full and words == list(SYNC) else None

    one, on = Flag("one"), Answering(answer, behind=ON)
    it = Plan([Step(one, on)], journal(tmp_path))
    apply(it)
    with naming(RollbackFailed, "I/O error"):
        roll_back(it)
    assert it.journal.interrupted()
    full = False
    roll_back(it)
    assert it.journal.entries() == []


@pytest.mark.parametrize("fails", [True, False])
def test_rollback_with_an_unwritable_journal_hides_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    one, two = Flag("one"), Flag("two", fails_back=fails)
    it = plan(tmp_path, one, two)
    apply(it)
    monkeypatch.setattr(it.journal, "rolled_back", no_space)
    with naming(RemediationError, "no space left") as caught:
        roll_back(it)
    assert isinstance(caught.value, RollbackFailed) == fails
    assert ("the flag two: stuck" in str(caught.value)) == fails


def test_rollback_not_as_before_says_so_and_names_the_parts(tmp_path: Path) -> None:
    class Forgetful(FileEdit):
        def rollback(self, on: Transport, before: FileState) -> None:
            super().rollback(on, replace(before, content=b"third\n", mtime="1.5"))

    path = tmp_path / "file"
    path.write_text("former\n")
    os.utime(path, ns=(0, 250_000_000))
    it = plan(tmp_path, Forgetful("one", "the file", "STEP-1.1", str(path), lambda _: b"ours"))
    apply(it)
    with pytest.raises(RollbackFailed) as caught:
        roll_back(it)
    said = "the file: after the rollback it is not as before (content: 7 bytes, sha256 "
    assert said in str(caught.value)
    assert it.journal.interrupted()


def test_rollback_and_apply_of_an_entry_with_another_path_are_refused(tmp_path: Path) -> None:
    def edit(name: str) -> Plan:
        (tmp_path / name).mkdir(exist_ok=True)
        path = str(tmp_path / name / "script")
        return plan(tmp_path, FileEdit("script", "script", "STEP-1.1", path, lambda _: b"ours"))

    apply(edit("then"))
    with naming(NotClean, tmp_path / "then/script"):
        apply(edit("now"))
    assert not (tmp_path / "now/script").exists()
    (tmp_path / "now/script").write_bytes(b"ours")
    with naming(RollbackFailed, tmp_path / "then/script", tmp_path / "now/script"):
        roll_back(edit("now"))
    assert (tmp_path / "now/script").read_bytes() == b"ours"
    roll_back(edit("then"))
    assert not (tmp_path / "then/script").exists()
