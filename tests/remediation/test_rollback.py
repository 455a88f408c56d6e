"""The mechanics backward: each undo on its own, in reverse, looked at afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from flag import ON, Flag, journal, plan

from remediation.actions import Directory, FileEdit
from remediation.errors import NotClean, RemediationError, RollbackFailed, UsageError
from remediation.plan import Consequence, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_one_failing_undo_does_not_stop_the_others(tmp_path: Path) -> None:
    one, two, three = Flag("one"), Flag("two", fails_back=True), Flag("three")
    it = plan(tmp_path, one, two, three)
    it.apply()
    with pytest.raises(RollbackFailed) as caught:
        it.rollback()
    assert [name for name, _ in caught.value.failures] == ["two"]
    assert (one.value, two.value, three.value) == ("old", "new", "old")
    assert [entry.action for entry in it.journal.entries()] == ["two"]
    assert it.journal.unfinished()
    two.fails_back = False
    assert [outcome.name for outcome in it.rollback()] == ["two"]
    assert two.value == "old"


def test_a_failing_consequence_does_not_stop_the_others(tmp_path: Path) -> None:
    ran: list[str] = []

    def fails() -> None:
        if ran:
            raise RemediationError("no reload")
        ran.append("apply")

    then = (Consequence("fails", fails), Consequence("runs", lambda: ran.append("runs")))
    it = plan(tmp_path, Flag("one"), then=then)
    it.apply()
    with pytest.raises(RollbackFailed, match="no reload"):
        it.rollback()
    assert ran == ["apply", "runs", "runs"]


def test_a_consequence_that_failed_on_the_way_back_is_owed_until_it_succeeds(
    tmp_path: Path,
) -> None:
    ran: list[str] = []
    broken = False

    def reload() -> None:
        ran.append("reload")
        if broken:
            raise RemediationError("no reload")

    one, two = Flag("one"), Flag("two", "STEP-2.1")
    steps = [Step(one, ON, (Consequence("reload", reload),)), Step(two, ON)]
    it = Plan(steps, journal(tmp_path))
    it.apply()
    broken = True
    for _ in range(2):
        with pytest.raises(RollbackFailed, match="reload: no reload"):
            it.rollback()
        assert (one.value, two.value) == ("old", "old")
        assert [entry.action for entry in it.journal.entries()] == ["one"]
        assert it.journal.unfinished()
        with pytest.raises(NotClean):
            it.apply()
    broken = False
    (outcome,) = it.rollback()
    assert (outcome.name, outcome.changed) == ("one", False)
    assert ran == ["reload"] * 4
    assert it.journal.entries() == []
    assert not it.journal.unfinished()


def test_an_undo_that_says_it_is_done_is_looked_at(tmp_path: Path) -> None:
    class Lazy(Flag):
        def rollback(self, *_: object) -> None:
            """Do nothing."""

    it = plan(tmp_path, Lazy("one"))
    it.apply()
    with pytest.raises(RollbackFailed, match="one: after the rollback it is not as before"):
        it.rollback()
    assert it.journal.unfinished()


def test_what_somebody_took_back_already_is_no_change(tmp_path: Path) -> None:
    one = Flag("one")
    it = plan(tmp_path, one)
    it.apply()
    one.value = "old"
    (outcome,) = it.rollback()
    assert (outcome.changed, outcome.reason) == (False, "was as before already")


def test_the_plans_order_counts_and_not_that_of_the_journal(tmp_path: Path) -> None:
    """An action that was right at first, and spoilt by an earlier one, is recorded last."""
    made = tmp_path / "made"
    made.mkdir()

    def removes(flag: Flag) -> None:
        made.rmdir()
        flag.value = "new"

    directory = Directory("directory", "STEP-3.1", str(made))
    file = FileEdit("file", "STEP-3.1", str(made / "file"), lambda _: b"ours")
    it = plan(tmp_path, Flag("one", on_apply=removes), directory, file)
    assert [outcome.changed for outcome in it.apply()] == [True, True, True]
    assert [outcome.name for outcome in it.rollback()] == ["file", "directory", "one"]
    assert not made.exists()


def test_only_takes_back_a_part_and_the_rest_later(tmp_path: Path) -> None:
    one, two = Flag("one", "STEP-1.2"), Flag("two", "STEP-2.1")
    it = plan(tmp_path, one, two)
    it.apply()
    assert [outcome.name for outcome in it.only(["STEP-1"]).rollback()] == ["one"]
    assert (one.value, two.value) == ("old", "new")
    assert not it.journal.unfinished()
    assert [entry.action for entry in it.journal.entries()] == ["two"]
    assert [outcome.name for outcome in it.rollback()] == ["two"]
    assert it.rollback() == []


def test_a_part_of_an_unfinished_run_does_not_finish_it(tmp_path: Path) -> None:
    """Killed between two actions: the one that was not begun is in the journal, too."""
    one, two, three = Flag("one", "STEP-1.2"), Flag("two", "STEP-2.1"), Flag("three", "STEP-3.1")
    it = plan(tmp_path, one, two, three)
    it.journal.record([(name, "localhost", "old") for name in ("one", "two", "three")])
    one.value = "new"
    it.journal.complete("one", "localhost", "new")
    two.value = "half"
    for part, left in (("STEP-1", ["two", "three"]), ("STEP-3", ["two"])):
        it.only([part]).rollback()
        assert [entry.action for entry in journal(tmp_path).entries()] == left
        assert journal(tmp_path).unfinished()
        with pytest.raises(NotClean):
            plan(tmp_path, one, two, three).apply()
    assert (one.value, two.value) == ("old", "half")
    it.only(["STEP-2"]).rollback()
    assert two.value == "old"
    assert not journal(tmp_path).unfinished()


def test_what_is_complete_of_an_unfinished_run_can_stay(tmp_path: Path) -> None:
    one, two = Flag("one", "STEP-1.2", value="new"), Flag("two", "STEP-2.1", value="half")
    it = plan(tmp_path, one, two)
    it.journal.record([(name, "localhost", "old") for name in ("one", "two")])
    it.journal.complete("one", "localhost", "new")
    it.only(["STEP-2"]).rollback()
    assert (one.value, two.value) == ("new", "old")
    assert not it.journal.unfinished()
    assert [outcome.name for outcome in it.rollback()] == ["one"]


def test_only_applies_a_part(tmp_path: Path) -> None:
    one, two = Flag("one", "STEP-1.2"), Flag("two", "STEP-1.20")
    it = plan(tmp_path, one, two)
    it.only(["STEP-1.2"]).apply()
    assert (one.value, two.value) == ("new", "old")
    assert it.only([]) is it


@pytest.mark.parametrize("unknown", ["STEP-9", "STEP", "STEP-1.", ""])
def test_only_knows_what_there_is(tmp_path: Path, unknown: str) -> None:
    with pytest.raises(UsageError, match=r"STEP-1\.2"):
        plan(tmp_path, Flag("one")).only([unknown])


def test_what_sleeps_is_woken_only_if_it_is_needed(tmp_path: Path) -> None:
    one, inside = Flag("one"), Flag("inside", "STEP-3.1")
    told: list[str] = []

    @contextmanager
    def awake() -> Iterator[None]:
        told.append(f"woken, inside is {inside.value}")
        yield
        told.append(f"let go, inside is {inside.value}")

    plan(tmp_path, one, inside).apply()
    asleep = replace(plan(tmp_path, one), asleep=[Step(inside, ON)], awake=awake)
    asleep.only(["STEP-1.2"]).rollback()
    assert told == []
    assert asleep.rollback_price() == ["localhost is started, to take back: inside"]
    assert told == []
    assert [outcome.name for outcome in asleep.rollback()] == ["inside"]
    assert told == ["woken, inside is new", "let go, inside is old"]
    assert (one.value, inside.value) == ("old", "old")


def test_what_cannot_be_woken_is_not_half_taken_back(tmp_path: Path) -> None:
    @contextmanager
    def refuses() -> Iterator[None]:
        raise RemediationError("does not boot")
        yield

    one, inside = Flag("one"), Flag("inside")
    plan(tmp_path, one, inside).apply()
    it = replace(plan(tmp_path, one), asleep=[Step(inside, ON)], awake=refuses)
    with pytest.raises(RemediationError, match="does not boot"):
        it.rollback()
    assert (one.value, inside.value) == ("new", "new")


def test_containers_are_taken_back_last_in_first_out(tmp_path: Path) -> None:
    shared = Flag("shared")
    first, second = plan(tmp_path, shared, ctid=950), plan(tmp_path, shared, ctid=951)
    first.apply()
    shared.value = "drifted"
    second.apply()
    with pytest.raises(NotClean, match="container 951 after"):
        plan(tmp_path, shared, ctid=950).rollback()
    assert shared.value == "new"
    second.rollback()
    assert shared.value == "drifted"
    plan(tmp_path, shared, ctid=950).rollback()
    assert shared.value == "old"
