"""Before the first change each machine is asked in one round trip, and never answered from before
a change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Inside, Layer, Local, Transport
from remediation.actions.file_edit import FileEdit
from remediation.engine.action import Place, Step
from remediation.engine.apply import Seen, apply
from remediation.engine.plan import Plan
from tests.doubles.flag import ON, journal
from tests.doubles.naming import naming


class Asked(Layer):
    """This machine, with what it was asked and told, in order."""

    def __init__(self) -> None:
        super().__init__(Local(), "the node")
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def _passed(
        self, on: Callable[..., CommandResult], argv: Sequence[str], stdin: bytes, timeout: float
    ) -> CommandResult:
        self.seen.append(("run", tuple(argv)))
        return ON.run(argv, stdin=stdin, timeout=timeout)

    def look(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.seen.append(("look", tuple(argv)))
        return ON.look(argv, stdin=stdin, timeout=timeout)

    def changes(self) -> list[tuple[str, ...]]:
        return [argv for kind, argv in self.seen if kind == "run"]


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
    plan = Plan(edits(folder, on, number), journal(folder))
    assert all(outcome.changed for outcome in apply(plan))
    kinds = [kind for kind, _ in on.seen]
    return kinds.index("run")


@pytest.mark.parametrize("number", [2, 12])
def test_apply_captures_all_files_in_one_round_trip(tmp_path: Path, number: int) -> None:
    """One for all checks, one for all before-images, one at the first write."""
    assert looks_before_the_journal(tmp_path, number) == 3


def test_apply_looks_again_after_each_change(tmp_path: Path) -> None:
    on = Asked()
    plan = Plan(edits(tmp_path, on, 2), journal(tmp_path))
    apply(plan)
    first, second = (at for at, (kind, _) in enumerate(on.seen) if kind == "run")
    for name, seen in (("0", on.seen[first + 1 : second]), ("1", on.seen[second + 1 :])):
        looked = [argv for kind, argv in seen if kind == "look"]
        assert any(f"{tmp_path}/{name}" in " ".join(argv) for argv in looked)


def test_link_is_refused_before_the_first_change(tmp_path: Path) -> None:
    on = Asked()
    one, two = edits(tmp_path, on, 2)
    (tmp_path / "1").rename(tmp_path / "elsewhere")
    (tmp_path / "1").symlink_to("elsewhere")
    plan = Plan([one, two], journal(tmp_path))
    with naming(FactError, str(tmp_path / "1"), "is a link"):
        apply(plan)
    assert (on.changes(), plan.journal.lines()) == ([], [])


def test_refused_consent_leaves_no_trace(tmp_path: Path) -> None:
    on = Asked()
    plan = Plan(edits(tmp_path, on, 2), journal(tmp_path))

    def refuse(seen: Seen) -> None:
        assert len(seen.drifted()) == 2
        raise FactError("no")

    with naming(FactError, "no"):
        apply(plan, consent=refuse)
    assert (on.changes(), plan.journal.lines()) == ([], [])


def test_step_in_a_container_sees_what_the_one_before_it_changed(tmp_path: Path) -> None:
    """Its look rides on the other one's last change, and is no older."""
    on = Inside(Asked(), "container 950", list, lambda _: None)
    path = tmp_path / "1"
    path.write_text("old\n")

    class Spoils(FileEdit):
        def apply(self, on: Transport) -> None:
            super().apply(on)
            on.run(["sh", "-c", f"echo other >{path}"])

    spoils = Spoils("0", "0", "STEP-1", str(tmp_path / "0"), lambda _: b"new\n")
    adds = FileEdit(
        "1", "1", "STEP-1", str(path), lambda now: (now or b"").removesuffix(b"+") + b"+"
    )
    steps = [Step(each, on, place=Place.CONTAINER) for each in (spoils, adds)]
    apply(Plan(steps, journal(tmp_path)))
    assert path.read_bytes() == b"other\n+"


def test_step_that_an_earlier_one_spoils_is_applied(tmp_path: Path) -> None:
    """It had not drifted: what was read of it before the change must not serve after it."""
    on = Asked()
    one, two, three = edits(tmp_path, on, 3)
    for name in "12":
        (tmp_path / name).write_text("new\n")

    class Spoils(FileEdit):
        def apply(self, on: Transport) -> None:
            super().apply(on)
            for name in "12":
                (tmp_path / name).write_text("old\n")

    spoils = Spoils("0", "0", "STEP-1", str(tmp_path / "0"), lambda _: b"new\n")
    plan = Plan([replace(one, action=spoils), two, three], journal(tmp_path))
    assert all(outcome.changed for outcome in apply(plan))
    assert [(tmp_path / name).read_text() for name in "012"] == ["new\n"] * 3
