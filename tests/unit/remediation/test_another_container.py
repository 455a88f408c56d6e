"""A container's number may be given to another one: that one is not taken for the former."""

from pathlib import Path

import pytest

from remediation.engine.action import Place
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean
from remediation.engine.rollback import roll_back
from tests.doubles.naming import naming
from tests.doubles.nodes.whole import _CONFIGURATION, Whole, applied

_FORMER, _NEW = "a" * 32, "b" * 32


def again(tmp_path: Path, machine_id: str) -> Whole:
    """Apply the plan; then write the configuration as it was before, and another machine-id."""
    whole = Whole(tmp_path)
    inside = Path(whole.in_container.below("/etc/machine-id"))
    inside.write_text(f"{_FORMER}\n")
    applied(whole)
    whole.shutdown(950)
    Path(whole.on_node.below("/etc/pve/lxc/950.conf")).write_bytes(_CONFIGURATION)
    inside.write_text(machine_id)
    whole.start(950)
    return whole


def test_apply_to_another_container_of_the_same_number_is_refused(tmp_path: Path) -> None:
    whole = again(tmp_path, f"{_NEW}\n")
    with naming(
        NotClean,
        "another container 950",
        "journal accept container-options fuse-",
        "roll back first",
    ):
        apply(whole.plan())
    assert Path(whole.on_node.below("/etc/pve/lxc/950.conf")).read_bytes() == _CONFIGURATION
    assert not whole.plan().journal.interrupted()
    left = whole.plan().journal
    kept = {"container-options", *(e.action for e in left.entries() if e.place is Place.CONTAINER)}
    left.accept(kept)
    apply(whole.plan())


@pytest.mark.parametrize("stopped", [False, True])
def test_rollback_of_another_container_of_the_same_number_is_refused_unless_forced(
    tmp_path: Path, *, stopped: bool
) -> None:
    """Its configuration may be the former one's, byte for byte, so nothing seems changed."""
    whole = again(tmp_path, f"{_NEW}\n")
    if stopped:
        whole.shutdown(950)
    journal = whole.plan().journal
    lines = journal.lines()
    with naming(NotClean, "another container 950", "journal accept container-options", "--force"):
        roll_back(whole.plan())
    assert journal.lines() == lines
    assert roll_back(whole.plan(), force=True)


@pytest.mark.parametrize("machine_id", [f"{_FORMER}\n", "", "uninitialized\n", "\x1b[31m"])
def test_apply_to_the_same_or_a_silent_container_goes_on(tmp_path: Path, machine_id: str) -> None:
    whole = again(tmp_path, machine_id)
    assert any(outcome.changed for outcome in apply(whole.plan()))
    assert roll_back(whole.plan(), force=True)
