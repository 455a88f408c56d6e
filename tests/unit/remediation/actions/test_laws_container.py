"""The two laws for a container's options: its file, whether it runs, and with what."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import Busy, Dropped, FactError
from docker_lxc_gate.facts.docker import REMOVED_WHEN_ENDED
from docker_lxc_gate.machines.result import CommandFailed
from remediation import plan_file
from remediation.edits.container_file import container_options
from remediation.engine.action import Step
from remediation.engine.apply import apply, apply_side_effects
from remediation.engine.rollback import roll_back, rollback_side_effects
from tests.doubles.answering import Answer, Answering
from tests.doubles.death import comes_back_wherever_killed
from tests.doubles.examples import examples
from tests.doubles.flag import Flag
from tests.doubles.naming import naming
from tests.doubles.nodes.world import OfFolder, World, booted, world
from tests.doubles.states import Laid, anything, laws


@pytest.fixture
def it(tmp_path: Path) -> World:
    """A container that runs."""
    return world(str(tmp_path), Laid(content=b"arch: amd64\n"), running=True)


configs = anything.filter(lambda laid: laid.kind in {"file", "absent", "link"})


@examples(50)
@given(laid=configs, running=st.booleans())
def test_options_hold_the_laws_whatever_was_there(laid: Laid, running: bool) -> None:
    with TemporaryDirectory() as name:
        it = world(name, laid, running=running and laid.kind != "link")
        before = it.look()
        step = it.step()
        outcome = laws(step.action, step.on)
        assert outcome != "refused" or laid.kind in {"absent", "link"}
        assert it.look() == before


@pytest.mark.parametrize("running", [True, False])
def test_options_killed_at_any_command_are_rolled_back(running: bool) -> None:
    laid = Laid(content=b"arch: amd64\n", mode=0o640, nanoseconds=9)
    comes_back_wherever_killed(lambda name: world(name, laid, running=running), World.look, ways=8)


def test_apply_of_a_locked_container_is_refused(tmp_path: Path) -> None:
    """A backup ends, and takes the lock out of the file, which then is not as the plan left it."""
    it = world(str(tmp_path), Laid(content=b"lock: backup\narch: amd64\n"), running=False)
    with naming(FactError, tmp_path / "here/config", "double", "backup"):
        apply(it.plan())
    with naming(FactError, "backup"):
        apply_side_effects(it.plan().drifts())
    assert roll_back(it.plan()) == []
    assert (tmp_path / "here/config").read_bytes() == b"lock: backup\narch: amd64\n"


@pytest.mark.parametrize("force", [False, True])
def test_rollback_of_a_locked_container_is_refused(it: World, tmp_path: Path, force: bool) -> None:
    """Put back, the file would have lost the lock, and its restart ended the backup."""
    before, flag = it.look(), Flag("beside it")
    step = Step(flag, it.step().on)
    apply(replace(it.plan(), steps=[*it.plan().steps, step]))
    path = tmp_path / "here/config"
    applied = path.read_bytes()
    path.write_bytes(locked := b"lock: backup\n" + applied)
    runs = it.node.effective
    with naming(Busy, path, "backup"):
        roll_back(replace(it.plan(), steps=[*it.plan().steps, step]), force=force)
    assert (path.read_bytes(), it.node.effective) == (locked, runs)
    assert flag.value == "new", "rolled back by half it may not even start"
    path.write_bytes(applied)
    roll_back(replace(it.plan(), steps=[*it.plan().steps, step]))
    assert (it.look(), flag.value) == (before, "old")


def test_apply_to_a_template_is_refused_before_anything_is_written(
    it: World, tmp_path: Path
) -> None:
    path = tmp_path / "here/config"
    path.write_bytes(template := b"template: 1\n" + path.read_bytes())
    with naming(FactError, "template", "pct clone"):
        apply(it.plan())
    assert (path.read_bytes(), it.plan().journal.lines()) == (template, [])


def test_cure_of_runc_is_taken_away_and_comes_back_exactly(tmp_path: Path) -> None:
    text = (
        b"arch: amd64\nfeatures: nesting=1\nlxc.apparmor.profile: unconfined\nlxc.mount.entry: "
        b"/dev/null sys/module/apparmor/parameters/enabled none bind 0 0\n"
    )
    it = world(str(tmp_path), Laid(content=text), running=True)
    before = it.look()
    given: Any = {"edit": partial(container_options, plan=plan_file.find("plain"))}
    with naming(FactError, "upgrade lxc-pve first"):
        apply(it.plan(**given, too_early=lambda _: "upgrade lxc-pve first"))
    assert (it.look(), it.plan().journal.lines()) == (before, [])
    apply(it.plan(**given))
    assert it.config.read_bytes() == b"arch: amd64\nfeatures: nesting=1\n"
    assert it.node.effective == repr(it.config.read_bytes())
    roll_back(it.plan(**given))
    assert it.look() == before


@pytest.mark.parametrize(
    ("of", "lost", "nouns"),
    [
        ("quorate", False, ("no quorum", "pvecm status")),
        ("resources", b"ct: 950\n\tstate started\n", ("Proxmox's HA", "ha-manager set ct:950")),
    ],
)
def test_apply_and_rollback_without_control_are_refused_and_the_container_runs_on(
    it: World, of: str, lost: object, nouns: tuple[str, ...]
) -> None:
    """Stopped, it could be neither changed nor started again, or HA would stop it for good."""
    had, before = getattr(it.node, of), it.look()
    setattr(it.node, of, lost)
    with naming(Busy, *nouns):
        apply(it.plan())
    assert (it.look(), it.plan().journal.lines()) == (before, [])
    setattr(it.node, of, had)
    apply(it.plan())
    setattr(it.node, of, lost)
    it.config.chmod(0o440)  # as pmxcfs shows it without quorum: no change of anybody's
    applied = it.look()
    for force in (False, True):
        with naming(Busy, *nouns) as refused:
            roll_back(it.plan(), force=force)
        assert "--force" not in str(refused.value)
        assert it.look() == applied


def test_side_effect_of_options_names_what_is_removed_at_its_end(it: World) -> None:
    removed = list(REMOVED_WHEN_ENDED.argv)
    it.inside = Answering(lambda argv: b"/web\n" if argv == removed else None, behind=booted())
    (sentence,) = map(str, apply_side_effects(it.plan().drifts()))
    assert sentence == "container 950: it is restarted; /web, started with --rm, goes for good"


def test_side_effect_of_options_of_a_stopped_container_is_a_stop_again(tmp_path: Path) -> None:
    it = world(str(tmp_path), Laid(content=b"arch: amd64\n"), running=False)
    assert apply_side_effects(it.plan().drifts()) == []
    apply(it.plan())
    assert it.node.effective is None
    it.node.start()
    sentence = "container 950: it is stopped, as it was before the plan"
    assert list(map(str, rollback_side_effects(it.plan()))) == [sentence]
    roll_back(it.plan())
    assert it.node.effective is None


@pytest.mark.parametrize("back", [False, True], ids=["apply", "rollback"])
def test_options_with_an_unwritable_file_leave_the_container_running(it: World, back: bool) -> None:
    """It is stopped for the change; a full disk is no reason to leave it so."""

    def full(words: list[str]) -> Answer | None:
        return (1, b"", b"No space left") if words[3:4] == ["restore"] else None

    step = it.step()
    before = step.action.capture(step.on)
    if back:
        step.action.apply(step.on, step.action.capture(step.on))
    with naming(CommandFailed, "No space left"):
        on = Answering(full, behind=it.node)
        step.action.rollback(on, before) if back else step.action.apply(on, step.action.capture(on))
    assert it.node.effective is not None
    step.action.rollback(step.on, before)
    assert step.action.restored(step.on, before)


def test_options_whose_connection_drops_are_left_to_the_next_run(it: World) -> None:
    """The lock is gone with the connection: whoever takes it next starts the container."""

    def cut(words: list[str]) -> None:
        if words[3:4] == ["restore"]:
            raise Dropped("cut")

    step = it.step()
    before = step.action.capture(step.on)
    with naming(Dropped, "cut"):
        step.action.apply(Answering(cut, behind=it.node), before)
    assert it.node.effective is None
    step.action.rollback(step.on, before)
    assert step.action.restored(step.on, before)


def test_rollback_on_plain_lxc_restarts_what_runs_with_the_plans_seccomp_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What plain LXC shows of a container that runs says nothing of its list."""
    monkeypatch.setattr(OfFolder, "kind", "lxc")
    monkeypatch.setattr(OfFolder, "started_with", lambda *_: "lxc-950 (enforce)")
    it = world(str(tmp_path), Laid(content=b"lxc.uts.name = a\n", mode=0o640), running=True)
    before, own = it.look(), "lxc.seccomp.profile = /own\n"
    apply(it.plan(edit=lambda text: (text or b"").replace(own.encode(), b"") + own.encode()))
    assert "lxc.seccomp.profile" in str(it.node.effective)
    assert rollback_side_effects(it.plan())
    roll_back(it.plan())
    assert it.look() == before
