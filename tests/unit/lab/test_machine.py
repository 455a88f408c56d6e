from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.lab import lock, recipe
from docker_lxc_gate.lab.errors import LabError, MachineFailed
from docker_lxc_gate.lab.image import Images, NodeImage
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import Node, State
from docker_lxc_gate.lab.progress import silent
from docker_lxc_gate.lab.provision import Provisioning
from docker_lxc_gate.lab.qemu import Qemu, hardware


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


def test_up_keeps_a_machine_of_this_recipe_and_replaces_any_other(
    tmp_path: Path, booted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab.open(tmp_path / "home")
    lab.node.folder.mkdir(parents=True)
    monkeypatch.setattr(Node, "answers", lambda *_: True)
    monkeypatch.setattr(Node, "settle", lambda *_: None)
    digest = Provisioning(recipe.guest_tree(), {}).digest
    state = State("an-image", hardware=hardware().fingerprint, provisioned=digest)
    lab.node.remember(state)
    lab.up()
    assert booted == []
    lab.node.remember(replace(state, provisioned="of another checkout"))
    lab.up()
    assert booted == ["stop", "boot"]
    monkeypatch.setattr(Node, "running", True)
    lab.up(keep=True)
    assert booted == ["stop", "boot"]


def test_up_does_not_replace_a_running_machine_that_another_process_uses(
    tmp_path: Path, booted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab.open(tmp_path)
    lab.node.folder.mkdir(parents=True)
    lab.node.remember(State("another-image"))
    monkeypatch.setattr(Node, "running", True)
    lock.use(tmp_path / "used")
    with lock._in_use.pop(tmp_path / "used"):  # another process has its own
        with pytest.raises(LabError, match="another command uses the lab"):
            lab.up()
        assert booted == []
        lab.up(keep=True)
    lab.up()
    assert booted == ["stop", "boot"]


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
