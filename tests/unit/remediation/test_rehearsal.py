"""There, back, compared, and there again: on real files."""

from pathlib import Path

import pytest

from remediation.actions.file_edit import FileEdit
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean
from remediation.engine.plan import Plan
from remediation.rehearsal import rehearse
from tests.doubles import flag

STAGES = ["before", "apply", "verify", "rollback", "compare", "apply again", "verify again"]


def plan(folder: Path) -> Plan:
    edit = FileEdit("edit", "edit", "STEP-1.2", str(folder / "file"), lambda _: b"theirs\n")
    return flag.plan(folder, edit)


def look(folder: Path) -> dict[str, str]:
    files = [path for path in folder.iterdir() if path.is_file()]
    return {f"file {path.name}": path.read_text() for path in files} | {"always": "there"}


def test_rehearse_with_an_exact_rollback_applies_the_plan(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    stages = list(rehearse(lambda: plan(tmp_path), lambda: look(tmp_path)))
    assert [stage.name for stage in stages] == STAGES
    assert [stage.said for stage in stages if stage.name == "compare"] == ["exact"]
    assert (tmp_path / "file").read_text() == "theirs\n"
    assert all(stage.seconds >= 0 for stage in stages)


def test_rehearse_with_a_difference_ends_after_the_comparison(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    looks: list[int] = []

    def differing() -> dict[str, str]:
        looks.append(1)
        return look(tmp_path) | {"left over": str(len(looks))}

    stages = list(rehearse(lambda: plan(tmp_path), differing))
    assert [stage.name for stage in stages] == STAGES[:5]
    assert stages[-1].differences == ("left over: 1 -> 2",)
    assert (tmp_path / "file").read_text() == "mine\n"


def test_rehearse_of_an_applied_plan_is_refused(tmp_path: Path) -> None:
    apply(plan(tmp_path))
    stages = rehearse(lambda: plan(tmp_path), lambda: look(tmp_path))
    with pytest.raises(NotClean):
        next(stages)


def test_rehearse_of_a_plan_without_changes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs\n")
    stages = rehearse(lambda: plan(tmp_path), lambda: look(tmp_path))
    assert next(stages).name == "before"
    with pytest.raises(NotClean):
        next(stages)
    assert plan(tmp_path).journal.lines() == []
