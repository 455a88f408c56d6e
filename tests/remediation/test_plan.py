"""The mechanics, on real files: journal first, verify after, everything back on an error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from remediation.actions import FileEdit
from remediation.errors import FactError, NotClean, RemediationError, RollbackFailed, VerifyFailed
from remediation.journal import Journal
from remediation.plan import Consequence, Drift, Plan, Step
from remediation.transport import Local

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from remediation.transport import Transport

ON = Local()


@dataclass
class Flag:
    """An action on one value in memory, which can be told to fail."""

    name: str
    requirement: str = "STEP-1.2"
    value: str = "old"
    on_apply: Callable[[Flag], None] = lambda self: setattr(self, "value", "new")
    fails_back: bool = False
    before: ClassVar[Any] = str

    def capture(self, _: Transport) -> str:
        return self.value

    def check(self, _: Transport) -> Drift | None:
        return None if self.value == "new" else Drift("it is old")

    def apply(self, _: Transport) -> None:
        self.on_apply(self)

    def rollback(self, _: Transport, before: str) -> None:
        if self.fails_back:
            raise RemediationError("stuck")
        self.value = before


def plan(folder: Path, *actions: Flag | FileEdit, then: tuple[Consequence, ...] = ()) -> Plan:
    steps = [Step(action, ON, then) for action in actions]
    return Plan(steps, Journal(ON, str(folder / "journal")))


def fail(_: Flag) -> None:
    raise RemediationError("no")


def test_apply_then_apply_again_then_rollback_twice(tmp_path: Path) -> None:
    one, two = Flag("one"), Flag("two", value="new")
    it = plan(tmp_path, one, two)
    assert [outcome.changed for outcome in it.apply()] == [True, False]
    assert [outcome.changed for outcome in it.apply()] == [False, False]
    assert [outcome.name for outcome in it.rollback()] == ["one"]
    assert (one.value, two.value) == ("old", "new")
    assert it.rollback() == []


def test_the_before_image_is_on_disk_before_the_change(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(flag: Flag) -> None:
        seen.append((tmp_path / "journal/journal.jsonl").read_text())
        flag.value = "new"

    plan(tmp_path, Flag("one", on_apply=look)).apply()
    kinds = [json.loads(line) for line in seen[0].splitlines()]
    assert [each["kind"] for each in kinds] == ["begun", "before"]
    assert kinds[1]["before"] == "old"
    assert oct((tmp_path / "journal").stat().st_mode)[-3:] == "700"
    assert oct((tmp_path / "journal/journal.jsonl").stat().st_mode)[-3:] == "600"


def test_an_error_takes_everything_back(tmp_path: Path) -> None:
    one = Flag("one")
    it = plan(tmp_path, one, Flag("two", on_apply=fail))
    with pytest.raises(RemediationError, match="no"):
        it.apply()
    assert one.value == "old"
    assert not it.journal.unfinished()


def test_drift_that_stays_is_an_error(tmp_path: Path) -> None:
    one = Flag("one")
    with pytest.raises(VerifyFailed, match="it is old"):
        plan(tmp_path, one, Flag("two", on_apply=lambda _: None)).apply()
    assert one.value == "old"


def test_one_failing_undo_does_not_stop_the_others(tmp_path: Path) -> None:
    one, two, three = Flag("one"), Flag("two", fails_back=True), Flag("three")
    it = plan(tmp_path, one, two, three)
    it.apply()
    with pytest.raises(RollbackFailed) as caught:
        it.rollback()
    assert [name for name, _ in caught.value.failures] == ["two"]
    assert (one.value, two.value, three.value) == ("old", "new", "old")
    two.fails_back = False
    it.rollback()
    assert two.value == "old"


def test_an_unfinished_run_is_in_the_way_and_is_never_overwritten(tmp_path: Path) -> None:
    one = Flag("one")
    it = plan(tmp_path, one)
    it.journal.record("one", "localhost", "older")
    with pytest.raises(NotClean, match="python -m remediation rollback"):
        it.apply()
    it.rollback()
    assert one.value == "older"


def test_the_first_before_image_is_kept(tmp_path: Path) -> None:
    one = Flag("one")
    it = plan(tmp_path, one)
    it.apply()
    one.value = "meddled"
    it.apply()
    it.rollback()
    assert one.value == "old"


def test_consequences_run_once_and_again_after_rollback(tmp_path: Path) -> None:
    ran: list[str] = []
    reload = Consequence("reload", lambda: ran.append("reload"))
    it = plan(tmp_path, Flag("one"), Flag("two"), then=(reload,))
    it.apply()
    assert ran == ["reload"]
    it.apply()
    assert ran == ["reload"]
    it.rollback()
    assert ran == ["reload", "reload"]


@pytest.mark.parametrize(
    ("line", "said"), [(b'{"v":2}\n', "format 2"), (b'{"v":1,"kind":"bef\n', "line 1")]
)
def test_a_foreign_or_damaged_journal_is_an_error(tmp_path: Path, line: bytes, said: str) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/journal.jsonl").write_bytes(line)
    with pytest.raises(FactError, match=said):
        plan(tmp_path, Flag("one")).apply()
    assert (tmp_path / "journal/journal.jsonl").read_bytes() == line


def test_half_a_last_line_is_of_a_change_never_made(tmp_path: Path) -> None:
    one = Flag("one")
    it = plan(tmp_path, one)
    it.apply()
    journal = tmp_path / "journal/journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"v":1,"kind":"bef')
    again = plan(tmp_path, one)
    with pytest.raises(NotClean):
        again.apply()
    assert [outcome.name for outcome in again.rollback()] == ["one"]
    assert one.value == "old"
    assert not again.journal.unfinished()
    assert [outcome.changed for outcome in again.apply()] == [True]


def test_a_second_run_that_ends_half_way_is_noticed(tmp_path: Path) -> None:
    one, two = Flag("one"), Flag("two", value="new")
    plan(tmp_path, one, two).apply()
    one.value, two.value = "meddled", "meddled"
    second = plan(tmp_path, one, two)
    second.journal.begin()
    with pytest.raises(NotClean):
        plan(tmp_path, one, two).apply()


def test_our_own_mistakes_take_everything_back_too(tmp_path: Path) -> None:
    def broken(_: Flag) -> None:
        raise ZeroDivisionError

    one = Flag("one")
    with pytest.raises(ZeroDivisionError):
        plan(tmp_path, one, Flag("two", on_apply=broken)).apply()
    assert one.value == "old"


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


def test_a_journalled_file_comes_back_through_json(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\x00 mine")
    action = FileEdit("edit", "STEP-1.2", str(path), lambda _: b"theirs")
    plan(tmp_path, action).apply()
    assert path.read_bytes() == b"theirs"
    plan(tmp_path, action).rollback()
    assert path.read_bytes() == b"\xff\x00 mine"
