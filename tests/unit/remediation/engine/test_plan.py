"""The mechanics forward: journal first, verify after, everything back on an error."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.errors import RemediationError
from remediation.engine.action import Consequence, Place
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean, RollbackFailed, VerifyFailed
from remediation.engine.rollback import roll_back
from tests.doubles.flag import Flag, fail, journal, no_space, plan
from tests.doubles.naming import naming


def test_apply_reads_the_journal_again_under_the_lock(tmp_path: Path) -> None:
    it = plan(tmp_path, Flag("one"))
    assert it.journal.entries() == []
    journal(tmp_path, 951).record([("other", Place.NODE, "old")])
    with pytest.raises(NotClean):
        apply(it)


def test_apply_stores_every_before_image_before_the_first_change(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(flag: Flag) -> None:
        seen.append((tmp_path / "journal/journal.jsonl").read_text())
        flag.value = "new"

    apply(plan(tmp_path, Flag("one", on_apply=look), Flag("two", value="other", on_apply=look)))
    first, second = [[json.loads(line) for line in text.splitlines()] for text in seen]
    assert [(x["kind"], x["action"], x["state"]) for x in first] == [
        ("before", "one", "old"),
        ("before", "two", "other"),
    ]
    assert [(x["kind"], x["action"], x["state"]) for x in second[2:]] == [("after", "one", "new")]


@pytest.mark.parametrize("error", [RemediationError, ZeroDivisionError])
def test_apply_with_an_error_rolls_all_back(tmp_path: Path, error: type[Exception]) -> None:
    def fails(_: Flag) -> None:
        raise error("no")

    one = Flag("one")
    it = plan(tmp_path, one, Flag("two", on_apply=fails))
    with naming(error, "no"):
        apply(it)
    assert one.value == "old"
    assert not it.journal.interrupted()


def test_apply_with_drift_that_stays_fails_and_rolls_back(tmp_path: Path) -> None:
    one = Flag("one")
    with naming(VerifyFailed, "the flag two"):
        apply(plan(tmp_path, one, Flag("two", on_apply=lambda _: None)))
    assert one.value == "old"


@pytest.mark.parametrize("value", ["old", "new"])
def test_apply_with_drift_of_a_later_action_is_rolled_back(tmp_path: Path, value: str) -> None:
    one, two = Flag("one", value=value), Flag("two")

    def spoils(two: Flag) -> None:
        one.value, two.value = "spoilt", "new"

    two.on_apply = spoils
    with naming(VerifyFailed, "the flag one"):
        apply(plan(tmp_path, one, two))
    assert (one.value, two.value) == ("old" if value == "old" else "spoilt", "old")


def test_second_apply_that_fails_restores_the_state_before_it(tmp_path: Path) -> None:
    one, two, three = Flag("one"), Flag("two"), Flag("three", value="new")
    it = plan(tmp_path, one, two, three)
    apply(it)
    one.value = three.value = "drifted"
    three.on_apply = fail
    with naming(RemediationError, "no"):
        apply(it)
    assert (one.value, two.value, three.value) == ("drifted", "new", "drifted")
    assert [entry.action for entry in it.journal.entries()] == ["one", "two"]
    assert not it.journal.interrupted()
    assert [outcome.id for outcome in roll_back(plan(tmp_path, one, two, three))] == ["two", "one"]
    assert (one.value, two.value, three.value) == ("old", "old", "drifted")


def test_second_apply_that_cannot_write_its_journal_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its before-images are not on the disk: the newest that are there are the first run's."""
    one, two = Flag("one"), Flag("two")
    apply(plan(tmp_path, one, two))
    one.value = "drifted"
    it = plan(tmp_path, one, two)
    monkeypatch.setattr(it.journal, "record", no_space)
    with naming(RemediationError, "no space left"):
        apply(it)
    assert (one.value, two.value) == ("drifted", "new")
    assert [entry.action for entry in it.journal.entries()] == ["one", "two"]
    assert not it.journal.interrupted()


@pytest.mark.parametrize("applied", [False, True], ids=["nothing was changed", "one was"])
def test_apply_on_a_disk_that_fills_up_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    """Some of the before-images are on it, or all; then nothing more is, and no rollback's mark."""

    def fills(images: Sequence[tuple[str, str, Any]], _: object) -> None:
        journal(tmp_path).record(images if applied else images[:1])
        monkeypatch.setattr(it.journal, "note", no_space)
        if not applied:
            no_space()

    one, two, told = Flag("one"), Flag("two", on_apply=fail), list[str]()
    it = replace(plan(tmp_path, one, two), tell=told.append)
    monkeypatch.setattr(it.journal, "record", fills)
    with pytest.raises(RollbackFailed if applied else RemediationError) as caught:
        apply(it)
    assert isinstance(caught.value, RollbackFailed) == applied
    assert (one.value, two.value) == ("new" if applied else "old", "old")
    assert any(line.startswith("Nothing was changed, but") for line in told) != applied
    later = plan(tmp_path, one, two)
    roll_back(later)
    assert (one.value, later.journal.interrupted()) == ("old", None)


def test_apply_with_a_failing_consequence_rolls_everything_back(tmp_path: Path) -> None:
    ran: list[str] = []

    def fails_once(_: object) -> None:
        ran.append("reload")
        if len(ran) == 1:
            raise RemediationError("no reload")

    one = Flag("one")
    it = plan(tmp_path, one, then=(Consequence("reload", "reload", fails_once),))
    with naming(RemediationError, "no reload"):
        apply(it)
    assert (one.value, ran) == ("old", ["reload", "reload"])
    assert it.journal.entries() == []
