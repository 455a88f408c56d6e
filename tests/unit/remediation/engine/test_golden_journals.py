"""Stored journals of today's format: each of them must always roll back.

A before-image stays on its node for years, and a later version of this program has to bring it
back. So every ``*.jsonl`` below ``tests/data/journals`` is tried, with what lies in ``contents/``
beside it. Never change or remove one: a test that fails here says that somebody's rollback would.

A node keeps its journal in ``/var/lib/docker-lxc-gate``. This records that of a real one, after
``apply`` and before ``rollback`` (or after a run that was cut off), under a name of its own::

    scp -r root@NODE:/var/lib/docker-lxc-gate tests/data/journals/v3-NAME

Those whose names hold ``doubles`` were written by that version's own code on the doubles of
``whole.py``, which says how; they are rolled back there to the end.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines import files
from remediation import docker_in_lxc
from remediation.engine.apply import apply
from remediation.engine.journal_format import VERSION, Accepted, After, Before
from remediation.engine.rollback import roll_back
from tests.doubles.nodes.whole import Whole
from tests.doubles.states import look

_DATA = Path(__file__).parents[3] / "data/journals"
JOURNALS = sorted(_DATA.rglob("*.jsonl"))
DOUBLES = [path for path in JOURNALS if "doubles" in path.parent.name]


def _name(path: Path) -> str:
    return str(path.relative_to(_DATA))


def laid(whole: Whole, golden: Path) -> None:
    """Give the node this journal, with the contents beside it, for its own."""
    shutil.rmtree(whole.journal, ignore_errors=True)
    whole.journal.mkdir()
    shutil.copy(golden, whole.journal / "journal.jsonl")
    if (contents := golden.parent / "contents").exists():
        shutil.copytree(contents, whole.journal / "contents")


def test_there_are_journals_of_this_version_and_of_every_action() -> None:
    texts = [line for path in DOUBLES for line in path.read_text().splitlines()]
    lines = [json.loads(text) for text in texts if '"kind":"cut"' not in text]
    assert len(DOUBLES) >= 2
    assert {line["v"] for line in lines} == {VERSION}
    assert {line["action"] for line in lines if "action" in line} == set(docker_in_lxc.ACTIONS)


def test_plan_is_the_list_of_its_actions(tmp_path: Path) -> None:
    found = [step.action for step in Whole(tmp_path).plan().steps]
    assert [action.id for action in found] == list(docker_in_lxc.ACTIONS)
    assert [action.title for action in found] == [docker_in_lxc.title(a.id, 950) for a in found]
    assert all("{" not in action.title for action in found)
    assert docker_in_lxc.title("somebody's {ctid}", 950) == "somebody's {ctid}"


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
                yield action.path, steps[line.action].on, state


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


@pytest.mark.parametrize("golden", DOUBLES, ids=_name)
def test_golden_journal_rolls_back_to_the_state_before(tmp_path: Path, golden: Path) -> None:
    whole, before = left_by(tmp_path / "here", golden)
    plan = whole.plan()
    accepted = {line.action for line in plan.journal.lines() if isinstance(line, Accepted)}
    stays = {f"node{s.action.path}" for s in plan.steps if s.action.id in accepted}
    order = [action for action in reversed(actions_of(whole)) if action not in accepted]
    assert [outcome.id for outcome in roll_back(plan)] == order
    now = _all(tmp_path / "here", whole)
    assert {path for path in {*now, *before} if now.get(path) != before.get(path)} <= stays
    again = whole.plan()
    assert roll_back(again) == []
    assert (again.journal.entries(), again.journal.interrupted()) == ([], None)
