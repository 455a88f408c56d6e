"""What somebody changed since is not overwritten without a word, and never without a copy."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.transport import Transport
from remediation.actions.file_edit import FileEdit
from remediation.engine.action import Place, Step
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince, RollbackFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.answering import Answering
from tests.doubles.flag import ON, Flag, journal, plan
from tests.doubles.naming import naming
from tests.doubles.nodes.world import world
from tests.doubles.states import ROOT, Laid, edit, look

OLD = b"old\n"


def files(folder: Path) -> tuple[Path, Path]:
    where = folder / "here"
    return where / "one", where / "two"


def actions(folder: Path) -> list[FileEdit]:
    return [FileEdit(path.name, path.name, "STEP-1.2", str(path), edit) for path in files(folder)]


@pytest.fixture
def applied(tmp_path: Path) -> Path:
    """A plan over a file that was there and one that was not, applied to its end."""
    (tmp_path / "here").mkdir()
    files(tmp_path)[0].write_bytes(OLD)
    apply(plan(tmp_path, *actions(tmp_path)))
    return tmp_path


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "theirs").write_text("theirs")


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("their target")


#: What is done by hand, what the refusal names, and what the copy holds.
BY_HAND: dict[str, tuple[Callable[[Path], object], str, bytes | None]] = {
    "content": (lambda path: path.write_bytes(b"\xff theirs"), "changed", b"\xff theirs"),
    "mode": (lambda path: path.chmod(0o600), "mode 644 -> 600", None),
    "attribute": (lambda path: os.setxattr(path, "user.x", b"1"), "attributes user.x", None),
    "removed": (Path.unlink, "removed", b""),
    "a link": (_link, "link", b"their target"),
}
if ROOT:
    BY_HAND["owner"] = (lambda path: os.chown(path, 1, 2), "owner 0:0 -> 1:2", None)


@pytest.mark.parametrize("which", [0, 1], ids=["was there", "is new"])
@pytest.mark.parametrize("how", [*BY_HAND, "a directory"])
def test_rollback_of_a_file_changed_since_is_refused(applied: Path, how: str, which: int) -> None:
    do, said, _ = BY_HAND.get(how, (_directory, "directory", None))
    path = files(applied)[which]
    do(path)
    before, lines = look(applied / "here"), journal(applied).lines()
    if how == "removed" and which == 1:  # as before the plan already
        roll_back(plan(applied, *actions(applied)))
        assert list(look(applied / "here")) == ["one"]
        return
    with naming(ChangedSince, path, said, "rollback --force") as caught:
        roll_back(plan(applied, *actions(applied)))
    assert list(caught.value.changes) == [path.name]
    assert caught.value.exit_code == 5
    assert look(applied / "here") == before
    assert journal(applied).lines() == lines
    assert not journal(applied).interrupted()


@pytest.mark.parametrize("how", BY_HAND)
def test_rollback_with_force_keeps_a_copy_and_tells_its_path(applied: Path, how: str) -> None:
    do, _, kept = BY_HAND[how]
    path, new = files(applied)
    do(path)
    kept = path.read_bytes() if kept is None else kept
    told: list[str] = []
    it = Plan([Step(action, ON) for action in actions(applied)], journal(applied), tell=told.append)
    roll_back(it, force=True)
    assert path.read_bytes() == OLD
    assert not new.exists()
    (copy,) = (applied / "journal/kept").iterdir()
    assert copy.read_bytes() == kept
    assert any(str(copy) in line for line in told)
    assert copy.stat().st_mode & 0o7777 == 0o600
    assert roll_back(plan(applied, *actions(applied))) == []


def test_rollback_with_force_keeps_a_directory_in_place_of_a_file(applied: Path) -> None:
    path = files(applied)[0]
    _directory(path)
    with naming(RollbackFailed, "one", path, "directory"):
        roll_back(plan(applied, *actions(applied)), force=True)
    assert (path / "theirs").read_text() == "theirs"
    assert list(look(applied / "here")) == ["one", "one/theirs"]  # two is rolled back
    assert [entry.action for entry in journal(applied).entries()] == ["one"]
    (path / "theirs").unlink()
    path.rmdir()
    roll_back(plan(applied, *actions(applied)), force=True)
    assert path.read_bytes() == OLD


def _restored_by_hand(folder: Path) -> None:
    one, two = files(folder)
    one.write_bytes(OLD)
    two.unlink()


def _touched(folder: Path) -> None:
    for path in files(folder):
        os.utime(path, ns=(1, 1))


def _restored_between_two_applies(folder: Path) -> None:
    files(folder)[0].write_bytes(OLD)
    apply(plan(folder, *actions(folder)))


@pytest.mark.parametrize("do", [_restored_by_hand, _touched, _restored_between_two_applies])
def test_rollback_that_overwrites_no_change_is_not_refused(
    applied: Path, do: Callable[[Path], None]
) -> None:
    do(applied)
    roll_back(plan(applied, *actions(applied)))
    assert files(applied)[0].read_bytes() == OLD
    assert not files(applied)[1].exists()


@pytest.mark.parametrize(
    ("earlier", "kept"), [(True, b"theirs\n"), (False, edit(b"theirs\n"))], ids=["before", "during"]
)
def test_rollback_of_a_file_changed_before_apply_edits_it_is_refused(
    tmp_path: Path, earlier: bool, kept: bytes
) -> None:
    """Apply made it ours again: of what a second one found, only the journal tells.

    What changed while apply ran is newer than its before-image: to restore that would lose it.
    """
    (tmp_path / "here").mkdir()
    path = files(tmp_path)[0]
    path.write_bytes(OLD)

    def long(flag: Flag) -> None:
        path.write_bytes(b"theirs\n")
        flag.value = "new"

    one = actions(tmp_path)[0]
    if earlier:
        apply(plan(tmp_path, one))
        path.write_bytes(b"theirs\n")
        apply(plan(tmp_path, one))
    else:
        apply(plan(tmp_path, Flag("installs", on_apply=long), one))
    assert path.read_bytes() == edit(b"theirs\n")
    with naming(ChangedSince, path) as caught:
        roll_back(plan(tmp_path, one).only(["one"]))
    assert {name: drift.is_ for name, drift in caught.value.changes.items()} == {"one": kept}
    assert path.read_bytes() == edit(b"theirs\n")
    roll_back(plan(tmp_path, one).only(["one"]), force=True)
    assert path.read_bytes() == OLD
    (copy,) = (tmp_path / "journal/kept").iterdir()
    assert copy.read_bytes() == kept


@pytest.mark.parametrize("changed", [False, True])
def test_rollback_of_a_cut_off_run_knows_its_own_content(tmp_path: Path, changed: bool) -> None:
    """Without an after-image: what the edit makes of the former content is ours."""
    (tmp_path / "here").mkdir()
    path = files(tmp_path)[0]
    path.write_bytes(OLD)
    action = actions(tmp_path)[0]
    journal(tmp_path).record([("one", Place.NODE, action.capture(ON))])
    action.apply(ON, action.capture(ON))
    if changed:
        path.write_bytes(edit(OLD) + b"theirs\n")
        with naming(ChangedSince, path):
            roll_back(plan(tmp_path, action))
        assert path.read_bytes() == edit(OLD) + b"theirs\n"
    else:
        roll_back(plan(tmp_path, action))
        assert path.read_bytes() == OLD


def test_rollback_of_an_unreadable_action_fails_and_stops_no_other(tmp_path: Path) -> None:
    class Blind(Flag):
        def current(self, _: Transport) -> str:
            raise RemediationError("no answer")

    blind, other = Blind("blind"), Flag("other")
    apply(plan(tmp_path, blind, other))
    with naming(RollbackFailed, "no answer"):
        roll_back(plan(tmp_path, blind, other).only(["blind"]))
    assert not journal(tmp_path).interrupted(), "nothing was begun"
    for force in (False, True):
        with naming(RollbackFailed, "no answer") as caught:
            roll_back(plan(tmp_path, blind, other), force=force)
        assert [name for name, _ in caught.value.failures] == ["the flag blind"]
        assert (blind.value, other.value) == ("new", "old")
    assert [entry.action for entry in journal(tmp_path).entries()] == ["blind"]


def test_rollback_of_changed_options_asks_a_hung_container_nothing(tmp_path: Path) -> None:
    """A rollback is what one tries just then: what hangs in the container is no reason to lose."""
    it = world(str(tmp_path), Laid(content=b"arch: amd64\n"), running=True)
    apply(it.plan())
    path = tmp_path / "here/config"
    path.write_bytes(edited := path.read_bytes() + b"memory: 4096\n")
    it.inside = Answering(lambda argv: b"running\n" if "is-system-running" in argv[2] else None)
    with naming(ChangedSince, path):
        roll_back(it.plan())
    assert path.read_bytes() == edited
    roll_back(it.plan(), force=True)  # whether it is as before is the node's to say
    assert path.read_bytes() == b"arch: amd64\n"
    (kept,) = (tmp_path / "journal/kept").iterdir()
    assert kept.read_bytes() == edited
