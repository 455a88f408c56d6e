import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from docker_lxc_gate.lab import node, qemu
from docker_lxc_gate.lab.errors import MachineFailed
from docker_lxc_gate.lab.image import NodeImage
from docker_lxc_gate.lab.lock import only_one
from docker_lxc_gate.lab.node import Node, State
from docker_lxc_gate.lab.progress import silent
from docker_lxc_gate.lab.qemu import Qemu

SLEEP = "import time; print(flush=True); time.sleep(60)"


@pytest.fixture
def machine(tmp_path: Path) -> Qemu:
    return Qemu(tmp_path)


@pytest.fixture
def ours(machine: Qemu) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like this machine's QEMU: its command line names our pid file."""
    argv = [sys.executable, "-c", SLEEP, "-pidfile", str(machine.folder / "qemu.pid")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the kernel shows a command line only some time after exec
        yield process
        process.kill()


@pytest.mark.parametrize("content", [None, "", "no number", "99999999", "our own"])
def test_pid_file_without_our_process_is_none(machine: Qemu, content: str | None) -> None:
    if content is not None:
        (machine.folder / "qemu.pid").write_text(content.replace("our own", f"{os.getpid()}\n"))
    assert machine.pid() is None
    machine.stop()  # must not end the test that calls it


def test_stop_of_a_process_that_answers_nothing_ends_it_by_signal(
    machine: Qemu, ours: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "_STOP_TIMEOUT", 0.2)
    (machine.folder / "qemu.pid").write_text(f"{ours.pid}\n")
    assert machine.pid() == ours.pid
    machine.stop()
    assert ours.wait(timeout=300) < 0
    assert not (machine.folder / "qemu.pid").exists()


@pytest.mark.parametrize("runs", [False, True])
def test_execute_without_a_process_or_its_socket_fails(
    machine: Qemu, ours: subprocess.Popen[bytes], *, runs: bool
) -> None:
    if runs:
        (machine.folder / "qemu.pid").write_text(f"{ours.pid}\n")
    with pytest.raises(MachineFailed):
        machine.execute("query-status")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu vmx sse", True),
        ("fpu svm", True),
        ("fpu hypervisor sse", False),  # kvm_pvm: KVM without hardware
        ("", False),
    ],
)
def test_virtualises_tells_hardware_from_software_by_flags(flags: str, expected: bool) -> None:
    text = f"processor\t: 0\nflags\t\t: {flags}\nvmx flags\t: vnmi\n"
    assert qemu.virtualises(text) is expected


def test_state_is_remembered_and_an_unreadable_one_is_none(tmp_path: Path) -> None:
    node = Node(tmp_path, tmp_path, silent)
    assert node.state == State()
    state = State("node-x", "trixie", 2222, "h", "p", ["trixie"])
    node.remember(state)
    assert node.state == state
    (tmp_path / "machine.json").write_text('{"image": "x", "of another version": 1}')
    assert node.state == State("x")
    (tmp_path / "machine.json").write_text("{")
    assert node.state == State()


def test_only_one_while_held_waits_and_names_the_holder(tmp_path: Path) -> None:
    path, said = tmp_path / "lock", []

    @contextmanager
    def steps(what: str) -> Iterator[None]:
        said.append(what)
        first.close()
        yield

    first = ExitStack()
    first.enter_context(only_one(path, silent))
    with only_one(path, steps):
        pass
    assert said == [f"waiting for another lab command (pid {os.getpid()})"]


def test_disk_of_a_copied_lab_is_over_the_copied_image(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "images/node").mkdir(parents=True)
    (first / "machine").mkdir()
    (first / "images/node/disk.raw").write_bytes(bytes(1 << 20))
    Qemu(first / "machine").create_disk(NodeImage(first / "images/node"))
    shutil.copytree(first, second)
    shutil.rmtree(first)
    assert Qemu(second / "machine").snapshots() == []
    argv = ["qemu-img", "check", "-q", str(second / "machine/disk.qcow2")]
    subprocess.run(argv, check=True)


@pytest.mark.parametrize(("runs", "times"), [(False, 2), (True, 1)])
def test_boot_whose_qemu_ended_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, runs: bool, times: int
) -> None:
    """And one whose node does not answer is not: that is the node's matter."""
    started: list[str] = []
    monkeypatch.setattr(Node, "start", lambda _, image, __: started.append(image.name))
    monkeypatch.setattr(Node, "running", runs)
    monkeypatch.setattr(Node, "answers", lambda *_: False)
    monkeypatch.setattr(Qemu, "create_disk", lambda *_: None)
    with pytest.raises(MachineFailed, match="QEMU says" if runs else "its process ended"):
        Node(tmp_path / "machine", tmp_path, silent).boot(NodeImage(tmp_path / "image"), "trixie")
    assert started == ["image"] * times


def test_port_that_was_taken_in_between_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU's own words, by a real one: the next thing it misses is a kernel."""
    (tmp_path / "disk.raw").write_bytes(bytes(1 << 20))
    image, lab = NodeImage(tmp_path), Node(tmp_path / "machine", tmp_path, silent)
    lab.folder.mkdir()
    lab.qemu.create_disk(image)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1], node.free_port()]
        monkeypatch.setattr(node, "free_port", lambda *_: ports.pop(0))
        with pytest.raises(MachineFailed, match="vmlinuz"):
            lab.start(image, State())
    assert not ports
