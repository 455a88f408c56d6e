"""One journal, several containers: whose run did not end, and whose came later."""

from pathlib import Path

import pytest

from remediation.engine.action import Place
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean, RollbackFailed
from remediation.engine.journal_format import Before
from remediation.engine.rollback import roll_back, rollback_side_effects
from tests.doubles.flag import Flag, journal, plan
from tests.doubles.naming import naming


@pytest.mark.parametrize(
    ("ended", "expected"), [((), 950), ((950,), 951), ((951,), 950), ((950, 951), None)]
)
def test_interrupted_returns_any_containers_unfinished_run(
    tmp_path: Path, ended: tuple[int, ...], expected: int | None
) -> None:
    for ctid in (950, 951):
        journal(tmp_path, ctid).record([("one", Place.NODE, "old")])
    for ctid in ended:
        journal(tmp_path, ctid).note("finished")
    assert journal(tmp_path, 952).interrupted() == expected
    assert journal(tmp_path, 951).interrupted() == (expected if 951 in ended else 951)


def test_containers_are_rolled_back_last_in_first_out(tmp_path: Path) -> None:
    shared, mine = Flag("shared", "STEP-1.2"), Flag("mine", "STEP-3.1")
    apply(plan(tmp_path, shared, mine, ctid=950))
    shared.value = "drifted"
    apply(plan(tmp_path, shared, ctid=951))
    for part in (["STEP-1"], ["STEP-3"], []):
        with naming(NotClean, "container 951"):
            roll_back(plan(tmp_path, shared, mine, ctid=950).only(part))
    assert (shared.value, mine.value) == ("new", "new")
    roll_back(plan(tmp_path, shared, ctid=951))
    assert shared.value == "drifted"
    roll_back(plan(tmp_path, shared, mine, ctid=950))
    assert (shared.value, mine.value) == ("old", "old")


def test_rollback_of_an_action_without_its_directory_names_the_file(tmp_path: Path) -> None:
    """A checkout of phoenix was removed, and the container still exists."""
    journal(tmp_path).record([("gone", Place.NODE, "old")], {"gone": "/checkout/setup.sh"})
    with naming(RollbackFailed, "/checkout/setup.sh"):
        roll_back(plan(tmp_path, Flag("one")))


def test_accept_of_an_entry_that_cannot_be_rolled_back_frees_the_node(tmp_path: Path) -> None:
    """Its container was destroyed: no container of the node could be worked on any more."""
    one, gone = Flag("one"), Flag("gone")
    apply(plan(tmp_path, one, gone))
    with naming(RollbackFailed, "'gone'", "docker-lxc-gate journal accept"):
        roll_back(plan(tmp_path, one))
    assert (one.value, journal(tmp_path).interrupted()) == ("old", 950)
    with pytest.raises(NotClean):
        apply(plan(tmp_path, one, ctid=951))
    it = journal(tmp_path)
    it.accept(["gone"])
    assert (it.entries(), it.interrupted()) == ([], None)
    assert [x.state for x in it.lines() if isinstance(x, Before) and x.action == "gone"] == ["old"]
    assert [each.changed for each in apply(plan(tmp_path, one, ctid=951))] == [True]
    assert roll_back(plan(tmp_path, one, gone)) == []
    assert gone.value == "new"


def test_accept_of_a_part_leaves_an_unfinished_run_unfinished(tmp_path: Path) -> None:
    it = journal(tmp_path)
    it.record([(name, Place.NODE, "old") for name in ("one", "two", "three")])
    for name in ("one", "three"):  # done, but what follows them may not be
        it.complete(name, Place.NODE, "new")
    it.accept(["two"])
    assert it.interrupted()
    assert [entry.action for entry in it.entries()] == ["one", "three"]
    it.accept(["three", "one", "one"])
    assert (it.entries(), it.interrupted()) == ([], None)


def test_rollback_reads_the_journal_again_under_the_lock(tmp_path: Path) -> None:
    """The command line shows the side effects and asks; another program applies the plan first."""
    one = Flag("one")
    waiting = plan(tmp_path, one)
    assert rollback_side_effects(waiting) == []
    apply(plan(tmp_path, one))
    assert [outcome.id for outcome in roll_back(waiting)] == ["one"]
    assert one.value == "old"
