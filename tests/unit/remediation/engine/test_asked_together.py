"""Before the first change each machine is asked in one round trip, and never answered from before
a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from remediation.actions.file_edit import FileEdit
from remediation.engine.action import Place, Step
from remediation.engine.apply import apply
from remediation.engine.journal import Journal
from remediation.engine.plan import Plan
from targets.transport import Base, Local

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from targets.transport import CommandResult


class Asked(Base):
    """This machine, with what it was asked and told, in order."""

    machine = "the node"

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.seen.append(("run", tuple(argv)))
        return Local().run(argv, stdin=stdin, timeout=timeout)

    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.seen.append(("look", tuple(argv)))
        return Local().look(argv, stdin=stdin, timeout=timeout)


def edits(folder: Path, on: Asked, number: int) -> list[Step]:
    """Steps that each turn another file of the folder into ``new``."""
    steps = []
    for name in map(str, range(number)):
        (folder / name).write_text("old\n")
        action = FileEdit(name, name, "STEP-1", str(folder / name), lambda _: b"new\n")
        steps.append(Step(action, on, place=Place.NODE))
    return steps


def looks_before_the_journal(tmp_path: Path, number: int) -> int:
    on = Asked()
    folder = tmp_path / str(number)
    folder.mkdir()
    plan = Plan(edits(folder, on, number), Journal(Local(), 950, str(folder / "journal")))
    assert all(outcome.changed for outcome in apply(plan))
    kinds = [kind for kind, _ in on.seen]
    return kinds.index("run")


@pytest.mark.parametrize("number", [2, 12])
def test_apply_captures_all_files_in_one_round_trip(tmp_path: Path, number: int) -> None:
    """One for all checks, one for all before-images, one at the first write."""
    assert looks_before_the_journal(tmp_path, number) == 3


def test_apply_looks_again_after_each_change(tmp_path: Path) -> None:
    on = Asked()
    plan = Plan(edits(tmp_path, on, 2), Journal(Local(), 950, str(tmp_path / "journal")))
    apply(plan)
    changes = [at for at, (kind, _) in enumerate(on.seen) if kind == "run"]
    assert len(changes) == 2
    for at in changes:
        after = [argv for kind, argv in on.seen[at + 1 :] if kind == "look"]
        assert any(str(tmp_path) in " ".join(argv) for argv in after)
