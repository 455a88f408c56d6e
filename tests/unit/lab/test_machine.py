from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from lab import image
from lab.errors import NoSpace
from lab.machine import Lab
from lab.node import Node, State
from lab.qemu import Qemu
from targets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Touched(Exception):
    """The lab was asked for its images."""


def refuse(*_: object) -> None:
    raise Touched


def test_up_with_a_keep_file_leaves_a_running_machine_alone_and_shows_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    @contextmanager
    def steps(what: str) -> Iterator[None]:
        shown.append(what)
        yield

    monkeypatch.setattr(Lab, "images", refuse)
    monkeypatch.setattr(Node, "running", True)
    lab = Lab(tmp_path, steps)
    with pytest.raises(Touched):
        lab.up()
    assert shown == []
    (tmp_path / "keep").write_text("shared with older checkouts\n")
    assert lab.up() is lab
    assert "shared with older checkouts" in shown[0]


def test_up_with_a_keep_file_and_no_running_machine_starts_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "images", refuse)
    (tmp_path / "keep").touch()
    with pytest.raises(Touched):
        Lab.open(tmp_path).up()


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with a machine that does not run."""
    lab = Lab.open(tmp_path / "first")
    (lab.home / "machine").mkdir(parents=True)
    (lab.home / "images").mkdir()
    (lab.home / "machine/disk.qcow2").write_bytes(b"all snapshots")
    Node(lab.home / "machine", lab.home / "images", lab.steps).remember(
        State("an-image", "trixie", 2222, "some hardware", "digest", {"hello": "1"})
    )
    monkeypatch.setattr(Qemu, "snapshots", lambda self: ["ready"] if self.disk.exists() else [])
    return lab


def test_copy_has_disk_and_record_without_the_port_and_shares_the_images(
    stopped: Lab, tmp_path: Path
) -> None:
    copy = stopped.copy_to(tmp_path / "below/second")
    assert (copy.home / "machine/disk.qcow2").read_bytes() == b"all snapshots"
    assert copy.state == replace(stopped.state, port=0)
    assert (copy.home / "images").resolve() == stopped.home / "images"
    copy.destroy(images=True)
    assert (stopped.home / "images").is_dir()


def test_copy_over_a_machine_is_refused_and_changes_nothing(stopped: Lab, tmp_path: Path) -> None:
    second = tmp_path / "second"
    (second / "machine").mkdir(parents=True)
    (second / "machine/disk.qcow2").write_bytes(b"work")
    with pytest.raises(UsageError) as refused:
        stopped.copy_to(second)
    assert f"LAB_HOME={second} python -m lab destroy" in str(refused.value)
    assert (second / "machine/disk.qcow2").read_bytes() == b"work"


def test_copy_of_no_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        Lab.open(tmp_path / "first").copy_to(tmp_path / "second")
    assert "python -m lab up" in str(refused.value)
    assert not (tmp_path / "second").exists()


def test_copy_without_room_is_refused(
    stopped: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(NoSpace):
        stopped.copy_to(tmp_path / "second")
    assert not (tmp_path / "second/machine").exists()
