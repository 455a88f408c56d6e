"""Who started whom: of real processes where the kernel tells, and of nobody where it does not."""

import os
import signal
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.facts.process_tree import ProcessNotes, ProcessWatch, parse
from docker_lxc_gate.machines.child import Hold
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from tests.doubles.answering import Answering

#: Lets the program's socket for the kernel's events be one of ours.
KERNEL = """BEGIN {
    *CORE::GLOBAL::socket = sub (*$$$) { open $_[0], "+<&=", $ENV{EVENTS} };
    *CORE::GLOBAL::bind = *CORE::GLOBAL::setsockopt = *CORE::GLOBAL::send = sub { 1 };
}
"""
FORK, EXEC = 1, 2


class Kernel:
    """The program on a tree of processes, told of others by us."""

    def __init__(
        self, root: Path, cgroups: dict[int, str], change: tuple[str, str] = ("", "")
    ) -> None:
        self.root, self.file = root, root / "notes"
        for pid, cgroup in cgroups.items():
            self.enter(pid, cgroup)
        self.events, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        script = KERNEL + program("docker_lxc_gate.facts", "process_notes.pl").replace(*change)
        with its:
            self.process = subprocess.Popen(
                ["perl", "-e", script.replace("/proc", str(root / "proc")), str(self.file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[its.fileno()],
                env={"EVENTS": str(its.fileno())},
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"noting\n"

    def enter(self, pid: int, cgroup: str) -> None:
        """Let a process have a cgroup."""
        folder = self.root / f"proc/{pid}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup").write_text(f"0::/{cgroup}\n")

    def say(self, what: int, *pids: int) -> None:
        """Send an event: of the parent and the child, or of the process; each a main thread."""
        threads = [pid for pid in pids for _ in range(2)]
        self.events.send(
            bytes(36) + struct.pack("=L12x4L", what, *threads, *[0] * (4 - len(threads)))
        )

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def notes(self) -> ProcessNotes:
        self.process.communicate(timeout=60)
        self.events.close()
        return parse(self.file.read_text())


A, B, NODE = "lxc/950", "lxc.payload.951", "user.slice"


def test_notes_of_processes_have_their_containers_by_cgroup_and_by_parent(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, {5: A, 6: B, 7: NODE})
    kernel.say(FORK, 5, 50)
    kernel.say(FORK, 50, 500)
    kernel.say(FORK, 7, 70)
    kernel.say(FORK, 7, 71)
    kernel.enter(71, B)
    kernel.say(EXEC, 71)
    found = kernel.notes()
    assert found.lost == ""
    whose = {pid: frozenset({"950"}) for pid in (5, 50, 500)}
    assert found.containers == whose | dict.fromkeys((6, 71), frozenset({"951"}))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's lxc-start counts")
@pytest.mark.parametrize(
    ("exe", "argv", "owner", "known"),
    [
        ("/usr/bin/lxc-start", "/usr/bin/lxc-start -F -n 950", 0, True),
        ("/usr/bin/lxc-start", "[lxc monitor] /var/lib/lxc 950", 0, True),
        ("/usr/bin/lxc-start", "lxc-start --name=950", 0, True),
        ("/usr/bin/lxc-start", "lxc-start -F -n 950", 65534, False),
        ("/usr/bin/perl", "/usr/bin/lxc-start -F -n 950", 0, False),
    ],
)
def test_notes_of_a_hook_have_the_container_that_lxc_start_starts(
    tmp_path: Path, exe: str, argv: str, owner: int, known: bool
) -> None:
    kernel = Kernel(tmp_path, {7: NODE})
    kernel.say(FORK, 7, 70)
    kernel.enter(70, NODE)
    (folder := tmp_path / "proc/70").joinpath("exe").symlink_to(exe)
    (folder / "cmdline").write_text(argv if argv[0] == "[" else argv.replace(" ", "\0") + "\0")
    os.chown(folder, owner, owner)
    kernel.say(EXEC, 70)
    kernel.say(FORK, 70, 71)
    kernel.say(EXEC, 71)
    assert kernel.notes().containers.get(71) == (frozenset({"950"}) if known else None)


@pytest.mark.parametrize(
    ("forks", "had"),
    [
        ([(5, 50), (6, 50)], {"950", "951"}),
        # of 950; then of 951, whose parent is the node's by CLONE_PARENT
        ([(5, 50), (7, 50)], {"950", "?"}),
        ([(5, 50), (7, 50), (5, 50)], {"950", "?"}),
    ],
)
def test_notes_of_a_pid_that_several_processes_had_have_all_of_them(
    forks: list[tuple[int, int]], had: set[str], tmp_path: Path
) -> None:
    kernel = Kernel(tmp_path, {5: A, 6: B, 7: NODE})
    for parent, child in forks:
        kernel.say(FORK, parent, child)
    assert kernel.notes().containers[50] == had


@pytest.mark.parametrize(
    ("patience", "lost"), [("10", ""), ("-1", "processes started faster than they could be noted")]
)
def test_notes_whose_input_ends_while_events_wait_read_them_until_a_deadline(
    patience: str, lost: str, tmp_path: Path
) -> None:
    """A container may start processes forever: its events do not keep the gate."""
    kernel = Kernel(tmp_path, {5: A}, ("$patience = 10", f"$patience = {patience}"))
    os.kill(kernel.process.pid, signal.SIGSTOP)
    kernel.say(FORK, 5, 50)
    kernel.close()
    os.kill(kernel.process.pid, signal.SIGCONT)
    found = kernel.notes()
    assert (found.lost, 50 in found.containers) == (lost, not lost)


@pytest.mark.parametrize(
    ("end", "lost"),
    [
        ("whole\n", ""),
        ("lost more than 200000 processes started\n", "more than 200000 processes started"),
        ("lost a\x1b[2J\n", r"a\x1b[2J"),
        ("", ProcessNotes.lost),
        ("whol", ProcessNotes.lost),
    ],
)
def test_parse_notes_without_their_end_are_not_whole(end: str, lost: str) -> None:
    notes = parse(f"process 7 950\n{end}")
    assert (notes.lost, notes.containers) == (lost, {7: frozenset({"950"})})


class Node(Answering):
    """Holds a command, or does not; and has a file that was written."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(lambda _: b"process 7 950\nwhole\n", "the node")
        self.fails, self.released = fails, 0

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        if self.fails:
            raise self.fails
        assert argv[:2] == ["perl", "-e"]
        assert f'print "{word}\\n"' in argv[2]
        return self

    def release(self) -> None:
        self.released += 1


def test_notes_are_read_once_and_their_file_is_removed() -> None:
    node = Node()
    watch = ProcessWatch(node)
    assert node.ran == []
    assert watch.notes() == ProcessNotes("", {7: frozenset({"950"})})
    assert watch.notes() == ProcessNotes("", {7: frozenset({"950"})})
    assert node.released == 1
    ((shell, _, script, _, file),) = node.ran
    assert shell == "sh"
    assert "rm --" in script
    assert file.startswith("/run/")


@pytest.mark.parametrize(
    "error",
    [
        TransportError("no connection"),
        CommandFailed(CommandResult(("perl",), 127, b"", b"no perl", "the node", 0.0, 0.0)),
    ],
)
def test_notes_where_no_program_can_be_held_are_empty(error: Exception) -> None:
    node = Node(error)
    assert ProcessWatch(node).notes() == ProcessNotes()
    assert node.ran == []
