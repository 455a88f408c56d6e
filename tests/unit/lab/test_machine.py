from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import image
from docker_lxc_gate.lab.errors import MachineFailed, NoSpace
from docker_lxc_gate.lab.image import Images, NodeImage
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import Node, State
from docker_lxc_gate.lab.progress import silent
from docker_lxc_gate.lab.qemu import Qemu


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
    monkeypatch.setattr(Node, "running", False)
    with pytest.raises(Touched):  # and one that does not run is started
        lab.up()


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


def test_copy_shares_the_images_and_has_no_port(stopped: Lab, tmp_path: Path) -> None:
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
    assert f"LAB_HOME={second} docker-lxc-gate lab destroy" in str(refused.value)
    assert (second / "machine/disk.qcow2").read_bytes() == b"work"


def test_copy_of_no_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        Lab.open(tmp_path / "first").copy_to(tmp_path / "second")
    assert "docker-lxc-gate lab up" in str(refused.value)
    assert not (tmp_path / "second").exists()


def test_copy_without_room_is_refused(
    stopped: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(NoSpace):
        stopped.copy_to(tmp_path / "second")
    assert not (tmp_path / "second/machine").exists()


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand-ins for what ``up`` does with images and a machine: ``boot`` and ``stop``, as noted."""
    done: list[str] = []
    monkeypatch.setattr(Images, "node", lambda *_: NodeImage(tmp_path / "an-image"))
    monkeypatch.setattr(Images, "templates", lambda *_: {})
    monkeypatch.setattr(Node, "boot", lambda *_: done.append("boot"))
    monkeypatch.setattr(Qemu, "stop", lambda _: done.append("stop"))
    monkeypatch.setattr(Lab, "_provision", lambda *_: None)
    return done


@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.usefixtures("booted")
def test_up_keeps_the_image_of_the_other_lab_that_shares_it(
    stopped: Lab, tmp_path: Path, which: str
) -> None:
    """Its disk is an overlay of that image."""
    second = stopped.copy_to(tmp_path / "second")
    images, labs = stopped.home / "images", {"first": stopped, "second": second}
    for name in ("node-its", "node-old"):
        (images / name).mkdir()
    chosen = labs.pop(which)
    (other,) = labs.values()
    other._node.remember(replace(other.state, image="node-its"))
    chosen.up()
    assert [path.name for path in images.glob("node-*")] == ["node-its"]


def test_up_that_cannot_provision_stops_the_node_that_it_booted(
    tmp_path: Path, booted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MachineFailed("no answer")

    monkeypatch.setattr(Lab, "_provision", fails)
    with pytest.raises(MachineFailed):
        Lab.open(tmp_path / "home").up()
    assert booted == ["stop", "boot", "stop"]


def test_machine_whose_disk_is_full_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path, tmp_path, silent)
    node.remember(State("image", "trixie", 1))
    monkeypatch.setattr(Node, "running", True)
    monkeypatch.setattr(Qemu, "status", lambda _: "io-error")
    with pytest.raises(MachineFailed, match=f"io-error.* is there space.* df -h {tmp_path}"):
        node.settle(3600)
