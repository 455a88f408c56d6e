from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lab import qemu
from lab.errors import LabError, MachineFailed
from lab.lock import only_one
from lab.node import Node, State
from lab.progress import silent
from lab.qemu import Hardware, Qemu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def test_no_pid_file_is_no_process(machine: Qemu) -> None:
    assert machine.pid() is None
    machine.stop()


def test_pid_of_another_process_is_not_ours(machine: Qemu) -> None:
    (machine.folder / "qemu.pid").write_text(f"{os.getpid()}\n")
    assert machine.pid() is None
    machine.stop()  # must not end the test that calls it


@pytest.mark.parametrize("content", ["", "no number", "99999999"])
def test_pid_file_that_names_nothing(machine: Qemu, content: str) -> None:
    (machine.folder / "qemu.pid").write_text(content)
    assert machine.pid() is None


def test_process_that_answers_nothing_is_ended_by_signal(
    machine: Qemu, ours: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "_STOP_TIMEOUT", 0.2)
    (machine.folder / "qemu.pid").write_text(f"{ours.pid}\n")
    assert machine.pid() == ours.pid
    machine.stop()
    assert ours.wait(timeout=10) < 0
    assert not (machine.folder / "qemu.pid").exists()


def test_commands_need_a_process(machine: Qemu) -> None:
    with pytest.raises(MachineFailed, match="no machine is running"):
        machine.execute("query-status")


def test_socket_that_is_not_there(machine: Qemu, ours: subprocess.Popen[bytes]) -> None:
    (machine.folder / "qemu.pid").write_text(f"{ours.pid}\n")
    with pytest.raises(MachineFailed, match="QMP query-status failed"):
        machine.execute("query-status")


def test_console_tail(machine: Qemu) -> None:
    assert machine.console_tail() == ""
    machine.console.write_bytes(b"one\r\ntwo\r\n\xff\r\nthree\r\n")
    assert machine.console_tail(2) == "�\nthree"


def test_snapshot_names_are_the_second_column() -> None:
    table = (
        "Snapshot list:\n"
        "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n"
        "1       stocked           407 MiB 2025-01-01 00:00:00  0000:00:18.1         --\n"
        "2       ready             411 MiB 2025-01-01 00:00:30  0000:00:30.0         --\n"
    )
    assert qemu._second_column(table) == ["stocked", "ready"]


def test_disk_of_no_machine_has_no_snapshots(machine: Qemu) -> None:
    assert machine.snapshots() == []


def test_hardware_differs_by_what_a_snapshot_depends_on() -> None:
    one = Hardware("QEMU 10", "tcg", 4096, 2, "max")
    others = [
        Hardware("QEMU 11", "tcg", 4096, 2, "max"),
        Hardware("QEMU 10", "kvm", 4096, 2, "max"),
        Hardware("QEMU 10", "tcg", 2048, 2, "max"),
        Hardware("QEMU 10", "tcg", 4096, 4, "max"),
        Hardware("QEMU 10", "tcg", 4096, 2, "Nehalem"),
        Hardware("QEMU 10", "tcg", 4096, 2, "max", "quiet"),
    ]
    assert len({hard.fingerprint for hard in (one, *others)}) == 7


def test_state_is_remembered_and_an_unreadable_one_is_none(tmp_path: Path) -> None:
    node = Node(tmp_path, tmp_path, silent)
    assert node.state == State()
    stock = {"debian-trixie-docker_amd64.tar.zst": "x", "library/hello-world:latest": "y"}
    state = State("node-x", "trixie", 2222, "h", "p", stock)
    node.remember(state)
    assert node.state == state
    assert node.state.templates == ["trixie"]
    (tmp_path / "machine.json").write_text('{"image": "x", "unknown": 1}')
    assert node.state == State()


def test_address_needs_a_machine(tmp_path: Path) -> None:
    with pytest.raises(MachineFailed, match="python -m lab up"):
        _ = Node(tmp_path, tmp_path, silent).address


def test_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with only_one(path, silent):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(LabError, match=f"process {os.getpid()}"), only_one(path, silent, 0.1):
            pass
    with only_one(path, silent, 0.1):
        pass
