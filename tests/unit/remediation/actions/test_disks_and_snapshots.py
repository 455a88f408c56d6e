"""Disks and snapshots that came or went since ``apply`` stay; what the plan had set comes back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.lab.guest.pct.config import Config, Section, parse, serialise
from remediation.desired import PROFILE
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.death import comes_back_wherever_killed
from tests.doubles.naming import naming
from tests.doubles.nodes import proxmox_snapshots
from tests.doubles.nodes.world import World, world
from tests.doubles.samples import sample
from tests.doubles.states import Laid

Change = Callable[[Config], Config]

#: Not as pct writes it: ``features`` and a profile are not in its order, a blank line is between.
BEFORE = sample("container_config/snapshots.conf").encode()


def _current(**keys: str | None) -> Change:
    return lambda conf: replace(conf, current=conf.current.with_keys(**keys))


def _described(conf: Config) -> Config:
    """The older snapshot's description is changed."""
    old = conf.snapshots["old"].with_description("before it: all")
    return replace(conf, snapshots={**conf.snapshots, "old": old})


CHANGES: dict[str, Change] = {
    "snapshot": lambda conf: proxmox_snapshots.taken(conf, "new", 1, "of today"),
    "resize": _current(rootfs="local:950/one.raw,size=16G"),
    "new disk": _current(mp0="local:950/three.raw,mp=/three"),
    "disk gone": _current(mp1=None, unused0="local:950/two.raw"),
    "snapshot gone": lambda conf: replace(conf, snapshots={}),
    "snapshot described": _described,
}


def by_pct(it: World, *changes: Change) -> None:
    """Change the configuration as pct does, which writes the whole file anew."""
    path = it.config
    conf = read(it)
    for change in changes:
        conf = change(conf)
    path.write_bytes(serialise(conf).encode(errors="surrogateescape"))


def read(it: World) -> Config:
    return _read(it.config.read_bytes())


def _read(content: bytes) -> Config:
    return parse("950", content.decode(errors="surrogateescape"))[0]


def applied(folder: Path, *, running: bool = False) -> World:
    it = world(str(folder), Laid(content=BEFORE, mode=0o640, nanoseconds=9), running=running)
    apply(it.plan())
    return it


@pytest.fixture
def it(tmp_path: Path) -> World:
    return applied(tmp_path)


def is_back(it: World, change: Change, *, running: bool) -> None:
    """As if the change had been made without the plan; a new snapshot is of when it was made."""
    assert read(it).current == change(_read(BEFORE)).current
    snapshots = change(_read(BEFORE)).snapshots
    assert {**read(it).snapshots, "new": None} == {**snapshots, "new": None}
    config = it.config.read_bytes()
    assert it.node.effective == (repr(config) if running else None)
    assert roll_back(it.plan()) == []


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_rollback_keeps_disks_and_snapshots(tmp_path: Path, change: Change, running: bool) -> None:
    it = applied(tmp_path, running=running)
    by_pct(it, change)
    theirs = read(it).snapshots
    told: list[str] = []
    (options,) = roll_back(replace(it.plan(), tell=told.append))
    assert read(it).snapshots == theirs
    assert "disks or snapshots changed since" in options.reason
    assert told[-1] == f"container 950: {options.reason}"
    assert (tmp_path / "here/config").stat().st_mode & 0o7777 == 0o640
    is_back(it, change, running=running)


@pytest.mark.parametrize("change", [CHANGES["resize"], lambda conf: conf], ids=["a disk", "none"])
def test_rollback_of_an_edited_option_is_refused(it: World, tmp_path: Path, change: Change) -> None:
    by_pct(it, change, _current(memory="1024"))
    before = it.look()
    with naming(ChangedSince, it.config) as caught:
        roll_back(it.plan())
    assert b"memory: 1024" in caught.value.changes["container 950"].is_
    assert it.look() == before
    theirs = it.config.read_bytes()
    roll_back(it.plan(), force=True)
    (copy,) = (tmp_path / "journal/kept").iterdir()
    assert copy.read_bytes() == theirs
    if change is CHANGES["resize"]:
        is_back(it, lambda conf: _current(memory="1024")(change(conf)), running=False)
    else:
        assert it.config.read_bytes() == BEFORE


def test_rollback_of_another_mode_is_refused_and_with_force_keeps_it(it: World) -> None:
    by_pct(it, CHANGES["resize"])
    it.config.chmod(0o600)
    with naming(ChangedSince, it.config, "640 -> 600"):
        roll_back(it.plan())
    roll_back(it.plan(), force=True)
    assert it.config.stat().st_mode & 0o7777 == 0o600
    is_back(it, CHANGES["resize"], running=False)


def test_rollback_of_pending_changes_is_refused_and_with_force_drops_them(it: World) -> None:
    """It is somebody's change: told, and with force gone, and kept in the copy."""
    pending = Section({"mp0": "local:8,mp=/three", "features": "nesting=0"})
    by_pct(it, lambda conf: replace(conf, pending=pending))
    with naming(ChangedSince, it.config):
        roll_back(it.plan())
    roll_back(it.plan(pending=lambda _: "only apply asks for it before it begins"), force=True)
    assert it.config.read_bytes() == BEFORE


@pytest.mark.parametrize("running", [True, False])
def test_rollback_with_a_snapshot_killed_anywhere_is_exact(running: bool) -> None:
    """Taken after ``apply``, or after a run of it that was killed."""

    def seen(it: World) -> object:
        effective = it.node.effective or ""
        files = [path.name for path in (it.folder / "here").iterdir()]
        return read(it).current, files, bool(effective), PROFILE in effective.partition("[new]")[0]

    comes_back_wherever_killed(
        lambda name: world(name, Laid(content=BEFORE), running=running),
        seen,
        ways=8,
        meanwhile=lambda it: by_pct(it, CHANGES["snapshot"]),
    )


def test_apply_with_pending_changes_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """Its restart would bring that into effect, and Proxmox would take it out of the file."""
    waits = Laid(content=b"arch: amd64\n\n[pve:pending]\nmemory: 1024\n")
    it = world(str(tmp_path), waits, running=True)
    before = it.look()
    for of in (Plan.drifts, apply):
        with naming(FactError, "memory: 1024", "pct pending"):
            of(it.plan())
    assert it.look() == before
    assert it.plan().journal.entries() == []
