"""A guest that answers rubbish keeps nothing of the node from being rolled back."""

from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.transport import Local, Transport
from remediation.actions.file_edit import FileEdit
from remediation.engine.action import Place, Step
from remediation.engine.apply import apply
from remediation.engine.errors import RollbackFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back, rollback_side_effects
from tests.doubles.answering import Answering
from tests.doubles.flag import ON, Flag, journal, plan
from tests.doubles.naming import naming

RUBBISH = [
    b"",
    b"rubbish",
    b"/etc/x" + b"\x00" * 94 + b"zzzzzzz\x00" * 3 + b"\x80" + b"\xff" * 11 + b"\x00" * 400,
]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda said: repr(said[:6]))
@pytest.mark.parametrize("force", [False, True])
def test_rollback_of_a_guest_that_answers_rubbish_rolls_the_node_back(
    tmp_path: Path, rubbish: bytes, force: bool
) -> None:
    says: bytes | None = None
    one, guest = Flag("node"), Answering(lambda _: says, "container 950", Local())
    path = tmp_path / "daemon.json"
    path.write_bytes(b"theirs\n")
    inside = FileEdit("guest", "guest", "STEP-3.1", str(path), lambda _: b"ours")
    it = Plan([Step(one, ON), Step(inside, guest, place=Place.CONTAINER)], journal(tmp_path))
    apply(it)
    says = rubbish
    assert len(rollback_side_effects(it)) <= 1
    with pytest.raises(RollbackFailed) as caught:
        roll_back(it, force=force)
    assert [name for name, _ in caught.value.failures] == ["guest"]
    assert isinstance(caught.value.failures[0][1], FactError)
    assert one.value == "old"
    assert [entry.action for entry in it.journal.entries()] == ["guest"]
    says = None
    roll_back(it)
    assert path.read_bytes() == b"theirs\n"


def _raises(*_: object) -> None:
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


@pytest.mark.parametrize("method", ["capture", "current", "changed_since", "rollback", "restored"])
def test_rollback_with_an_unforeseen_error_names_its_step(tmp_path: Path, method: str) -> None:
    class Unforeseen(Flag):
        def current(self, _: Transport) -> str:
            return self.value

    one, two, three = Flag("one"), Unforeseen("two"), Flag("three")
    it = plan(tmp_path, one, two, three)
    apply(it)
    setattr(two, method, _raises)
    if method == "capture":  # its rollback works without, and then nobody knows
        two.restored = _raises  # type: ignore[method-assign,assignment]
    with naming(RollbackFailed, "localhost") as e:
        roll_back(it)
    assert [name for name, _ in e.value.failures] == ["the flag two"]
    assert (one.value, three.value) == ("old", "old")
