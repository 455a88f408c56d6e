"""A container's file as people write it, which Proxmox writes anew at each stop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from remediation.engine.action import Consequence
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince, RollbackFailed, VerifyFailed
from remediation.engine.rollback import roll_back
from tests.doubles.death import comes_back_wherever_killed
from tests.doubles.naming import naming
from tests.doubles.nodes.world import OfFolder, World, world
from tests.doubles.states import Laid

#: Comments in the middle, umlauts in two encodings, blank lines, lines that are none to Proxmox.
BY_HAND = (
    "rootfs: a\n# von Hand: Büro 100%\n\nonboot: yes\narch : x\n  # indented\narch: amd64\n"
    "lxc.cap.drop = mknod\nlxc.nobodys: 1\nlxc.environment.runtime = A=1\nunused0: local:a\n"
    "features: mount=nfs\n\n[old]\nlxc.idmap = u 0 1 1\n"
    "# before: it\nrubbish\n\n"
).encode() + b"# Jos\xe9\n"


def edited_by_hand(name: str, *, running: bool = True) -> World:
    """A container that was started before somebody edited its file."""
    it = world(name, Laid(content=b"arch: amd64\nrootfs: a\n"), running=running)
    Laid(content=BY_HAND, mode=0o640, nanoseconds=9).at(it.config)
    return it


def stopped_and_started(it: World) -> None:
    it.node.stop()
    it.node.start()


def test_rollback_of_a_file_edited_by_hand_brings_every_byte_back(tmp_path: Path) -> None:
    it = edited_by_hand(str(tmp_path))
    before, _ = it.look()
    apply(it.plan())
    assert b"\n# von Hand: B\xc3\xbcro 100%\n\n" in it.config.read_bytes()  # as the plan showed
    assert it.plan().journal.entries()[0].images[0].after, "nobody changed it while apply ran"
    (outcome,) = roll_back(it.plan())
    assert (it.look()[0], outcome.reason) == (before, "as before")
    assert it.node.effective == repr(BY_HAND)
    assert roll_back(it.plan()) == []


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("times", [1, 2])
def test_rollback_after_the_users_stop_is_exact(tmp_path: Path, running: bool, times: int) -> None:
    it = edited_by_hand(str(tmp_path), running=running)
    before, _ = it.look()
    apply(it.plan())
    if not running:
        it.node.start()
    for _ in range(times):
        stopped_and_started(it)
    roll_back(it.plan())
    assert it.look()[0] == before
    assert (it.node.effective is not None) is running


def _with(line: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(b"arch: amd64\n", b"arch: amd64\n" + line + b"\n")


@pytest.mark.parametrize(
    "line", [b"memory: 1024", b"# theirs", b"theirs, which is no line", b"lxc.cap.drop: sys_time"]
)
@pytest.mark.parametrize("stopped", [True, False])
def test_rollback_of_an_edit_beside_the_normal_form_is_refused(
    tmp_path: Path, line: bytes, stopped: bool
) -> None:
    it = edited_by_hand(str(tmp_path))
    apply(it.plan())
    if stopped:
        stopped_and_started(it)
    it.config.write_bytes(_with(line)(it.config.read_bytes()))
    with naming(ChangedSince, it.config):
        roll_back(it.plan())


def test_rollback_with_a_stop_after_the_restored_file_is_told(tmp_path: Path) -> None:
    """By the user, or by the guest itself, which may reboot whenever it likes."""
    it = edited_by_hand(str(tmp_path))
    apply(it.plan())
    told: list[str] = []
    step = replace(
        it.step(),
        then_back=(Consequence("rebooted", "rebooted", lambda _: stopped_and_started(it)),),
    )
    (outcome,) = roll_back(replace(it.plan(), steps=[step], tell=told.append))
    assert "says what it said before" in outcome.reason
    assert told[-1] == f"container 950: {outcome.reason}"
    assert roll_back(it.plan()) == []
    assert b"\n# von Hand" not in it.config.read_bytes()


@pytest.mark.parametrize("how", ["theirs", "mode", "on a runtime that rewrites no file"])
def test_rollback_that_ends_with_another_file_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    it = world(str(tmp_path), Laid(content=b"rootfs: a\narch: amd64\n"), running=True)
    apply(it.plan())

    def spoilt(_: object) -> None:
        stopped_and_started(it)
        if how == "mode":
            it.config.chmod(0o600)
        elif how == "theirs":
            it.config.write_bytes(_with(b"memory: 1024")(it.config.read_bytes()))
        else:
            monkeypatch.setattr(OfFolder, "kind", "lxc")

    step = replace(it.step(), then_back=(Consequence("spoilt", "spoilt", spoilt),))
    with pytest.raises(RollbackFailed) as caught:
        roll_back(replace(it.plan(), steps=[step]))
    ((name, error),) = caught.value.failures
    assert (name, type(error)) == ("container 950", VerifyFailed)


def test_killed_at_any_command_a_file_edited_by_hand_comes_back() -> None:
    comes_back_wherever_killed(
        edited_by_hand, lambda it: (it.look()[0], it.node.effective is not None), ways=8
    )
