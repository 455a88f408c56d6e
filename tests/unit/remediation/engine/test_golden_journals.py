"""Journals of every format that was ever written: each of them must always roll back.

A before-image stays on its node for years, and a later version of this program has to bring it
back. So every ``*.jsonl`` below ``tests/data/journals`` is tried, with what lies in ``contents/``
beside it. Never change or remove one: a test that fails here says that somebody's rollback would.

A node keeps its journal in ``/var/lib/docker-lxc-gate``. This records that of a real one, after
``apply`` and before ``rollback`` (or after a run that was cut off), under a name of its own::

    scp -r root@NODE:/var/lib/docker-lxc-gate tests/data/journals/v3-NAME

Those whose names hold ``doubles`` were written by that version's own code on the doubles of
``whole.py``, which says how; they are rolled back there to the end.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from remediation import desired, docker_in_lxc
from remediation.engine import earlier_formats
from remediation.engine.apply import apply
from remediation.engine.journal_entries import Life
from remediation.engine.journal_format import VERSION, Accepted, After, Before
from remediation.engine.rollback import roll_back
from targets import files
from targets.errors import ChangedSince, NotClean
from targets.files import FileState
from tests.doubles.naming import naming
from tests.doubles.nodes.whole import Whole, main
from tests.doubles.states import look

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA = Path(__file__).parents[3] / "data/journals"
JOURNALS = sorted(_DATA.rglob("*.jsonl"))
DOUBLES = [path for path in JOURNALS if "doubles" in path.parent.name]
_FORMER = _DATA / "v2-doubles-applied/journal.jsonl"


def _name(path: Path) -> str:
    return str(path.relative_to(_DATA))


def _versions(path: Path) -> set[int]:
    lines = [line for line in path.read_bytes().splitlines() if b'"kind":"cut"' not in line]
    return {json.loads(line)["v"] for line in lines}


def laid(whole: Whole, golden: Path) -> None:
    """Give the node this journal, with the contents beside it, for its own."""
    shutil.rmtree(whole.journal, ignore_errors=True)
    whole.journal.mkdir()
    shutil.copy(golden, whole.journal / "journal.jsonl")
    if (contents := golden.parent / "contents").exists():
        shutil.copytree(contents, whole.journal / "contents")


def test_there_are_journals_of_every_version_and_of_every_action() -> None:
    for version in (earlier_formats.VERSION, VERSION):
        found = [path for path in DOUBLES if _versions(path) == {version}]
        assert len(found) >= 2, version
        text = "".join(path.read_text() for path in found)
        actions = {
            json.loads(line).get("action") for line in text.splitlines() if '"v":{' not in line
        }
        named = {each.format(ctid=950) for each in earlier_formats.ACTIONS}
        wanted = named if version == earlier_formats.VERSION else set(docker_in_lxc.ACTIONS)
        assert actions - {None} == wanted


def test_former_names_lead_to_every_action_and_to_no_other() -> None:
    assert set(earlier_formats.ACTIONS.values()) <= set(docker_in_lxc.ACTIONS)
    assert len(set(earlier_formats.ACTIONS.values())) == len(earlier_formats.ACTIONS)


def test_plan_is_the_list_of_its_actions(tmp_path: Path) -> None:
    found = [step.action for step in Whole(tmp_path).plan().steps]
    assert [action.id for action in found] == list(docker_in_lxc.ACTIONS)
    assert [action.title for action in found] == [docker_in_lxc.title(a.id, 950) for a in found]
    assert all("{" not in action.title for action in found)
    assert docker_in_lxc.title("somebody's {ctid}", 950) == "somebody's {ctid}"


def test_stored_journal_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "v3-history").mkdir()
    with pytest.raises(SystemExit, match="v3-history"):
        main(str(tmp_path / "v3"))
    assert [path.name for path in tmp_path.iterdir()] == ["v3-history"]


@pytest.mark.parametrize("golden", JOURNALS, ids=_name)
def test_golden_journal_lines_each_find_a_step_and_an_image(tmp_path: Path, golden: Path) -> None:
    first = Whole(tmp_path / "first")
    laid(first, golden)
    lines = first.plan().journal.lines()
    ctids = {line.ctid for line in lines}
    assert ctids
    for ctid in ctids:
        whole = Whole(tmp_path / str(ctid), ctid)
        laid(whole, golden)
        plan = whole.plan()
        steps = {step.action.id: step for step in plan.steps}
        images = [line for line in lines if isinstance(line, Before | After) and line.ctid == ctid]
        assert images
        for line in images:
            step = steps[line.action]
            assert line.machine is step.place
            image = plan.journal.image(line.state, step.action.before)
            assert isinstance(image, step.action.before), line.action
        for entry in plan.journal.entries():
            assert plan.step(entry.action) is steps[entry.action]


def _file(image: Any) -> FileState | None:
    """Return the file that an image is of, if it is of one."""
    if isinstance(image, FileState):
        return image
    found = getattr(image, "file", None) or getattr(image, "settings", None)
    return found if isinstance(found, FileState) else None


def _files(whole: Whole, kind: type[Before | After]) -> Iterator[tuple[str, Any, FileState]]:
    """Yield the path of each file in the journal, where it is, and its first image of a kind."""
    plan = whole.plan()
    steps = {step.action.id: step for step in plan.steps}
    seen = set()
    for line in plan.journal.lines():
        if isinstance(line, kind) and line.action not in seen:
            seen.add(line.action)
            action = steps[line.action].action
            state = _file(plan.journal.image(line.state, action.before))
            if state is not None:
                yield action.path, steps[line.action].on, state  # type: ignore[attr-defined]


def _all(folder: Path, whole: Whole) -> dict[str, Any]:
    """Return all that there is, but for the journal."""
    found: dict[str, Any] = {}
    for place in ("node", "container"):
        for path, facts in look(folder / place).items():
            if not path.startswith("var/lib/gate"):
                found[f"{place}/{path}"] = facts
    guest = whole.in_container.guest
    found["packages"] = {name: status for name, status in guest.status.items() if status}
    found["groups"] = (guest.groups, guest.shadow)
    found["policy"] = whole.on_node.kernel.policy
    found["started with"] = whole.on_node.container.effective
    return found


def actions_of(whole: Whole) -> list[str]:
    """Return the ids of the actions in the journal, in the plan's order.

    Only these are applied here: no stored journal knows an action that the plan gained later.
    """
    plan = whole.plan()
    known = {line.action for line in plan.journal.lines() if isinstance(line, Before)}
    return [step.action.id for step in plan.steps if step.action.id in known]


def left_by(folder: Path, golden: Path) -> tuple[Whole, dict[str, Any]]:
    """Return the machines as the code that wrote a journal left them, and what was before."""
    folder.mkdir()
    whole = Whole(folder)
    laid(whole, golden)
    before, after = list(_files(whole, Before)), list(_files(whole, After))
    actions = actions_of(whole)
    shutil.rmtree(whole.journal)
    for path, on, state in before:
        if "/docker/" not in path:  # whose directory is not there yet
            files.restore(on, path, state)
    whole.on_node.container.start()
    looked = _all(folder, whole)
    apply(whole.plan().only(actions))
    for path, on, state in after:
        files.restore(on, path, state)
    laid(whole, golden)
    return whole, looked


def _but(state: dict[str, Any], paths: set[str]) -> dict[str, Any]:
    return {key: fact for key, fact in state.items() if key not in paths}


@pytest.mark.parametrize("golden", DOUBLES, ids=_name)
def test_golden_journal_rolls_back_to_the_state_before(tmp_path: Path, golden: Path) -> None:
    whole, before = left_by(tmp_path / "here", golden)
    plan = whole.plan()
    accepted = {line.action for line in plan.journal.lines() if isinstance(line, Accepted)}
    stays = {f"node{s.action.path}" for s in plan.steps if s.action.id in accepted}  # type: ignore[attr-defined]
    order = [action for action in reversed(actions_of(whole)) if action not in accepted]
    assert [outcome.id for outcome in roll_back(plan)] == order
    assert _but(_all(tmp_path / "here", whole), stays) == _but(before, stays)
    again = whole.plan()
    assert roll_back(again) == []
    assert (again.journal.entries(), again.journal.unfinished()) == ([], False)


@pytest.mark.parametrize("kept", [11, 16, 22], ids="after {} lines".format)
def test_journal_of_version_2_cut_off_rolls_back(tmp_path: Path, kept: int) -> None:
    whole, before = left_by(tmp_path / "here", _FORMER)
    path = whole.journal / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]) + lines[kept][:40])
    with pytest.raises(NotClean):
        apply(whole.plan().only(actions_of(whole)))
    journal = whole.plan().journal
    lives = [entry.without_a_run().life for entry in journal.entries()]
    assert lives == [Life.APPLIED] * (kept - 11) + [Life.INTERRUPTED] * (22 - kept)
    roll_back(whole.plan())
    assert _all(tmp_path / "here", whole) == before


def test_journal_of_version_2_continued_in_version_3_rolls_back_both(tmp_path: Path) -> None:
    whole, before = left_by(tmp_path / "here", _FORMER)
    whole.on_node.write(desired.TUNABLE_PATH, b"somebody's")
    outcomes = apply(whole.plan().only(actions_of(whole)))
    assert [outcome.id for outcome in outcomes if outcome.changed] == [
        *("nesting-tunable", "reload-apparmor")
    ]
    assert _versions(whole.journal / "journal.jsonl") == {2, 3}
    with naming(ChangedSince, "nesting tunable", desired.TUNABLE_PATH):
        roll_back(whole.plan())
    roll_back(whole.plan(), force=True)
    assert _all(tmp_path / "here", whole) == before
