"""The shell that stays open for looks, with the shells of Debian and of small guests."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from docker_lxc_gate.errors import Dropped, LimitExceeded, TransportError
from docker_lxc_gate.machines import shell
from docker_lxc_gate.machines.child import Answer
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.root import as_root
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.transport import LIMIT, Inside, Local, Machine, Transport
from tests.doubles.naming import naming
from tests.doubles.programs.processes import gone
from tests.doubles.programs.sshd import Sshd

#: What a shell is reached by; it leads nowhere else.
VIA = ("env", "INSIDE=yes")


@pytest.fixture(params=["local", "ssh"])
def raw(request: pytest.FixtureRequest) -> Iterator[Machine]:
    if request.param == "ssh":
        yield request.getfixturevalue("ssh")
        return
    with closing(Local()) as here:
        yield here


@pytest.fixture(params=["dash", "bash", "busybox"])
def guest(raw: Machine, request: pytest.FixtureRequest, tmp_path: Path) -> Transport:
    """A container whose sh is another one in turn."""
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"there is no {request.param} here")
    (tmp_path / "sh").symlink_to(program)
    return Inside(raw, "container 950", [*VIA, f"PATH={tmp_path}:{os.environ['PATH']}"])


def pid_of(on: Transport) -> int:
    """Return the process id of the shell that answers a look: timeout's parent."""
    answer = on.look(["sh", "-c", "grep PPid /proc/$PPID/status"]).require()
    return int(answer.text.split()[1])


def test_look_has_both_outputs_and_the_exit_code(guest: Transport) -> None:
    result = guest.look(["sh", "-c", "printf 'a\\0b\\n\\n'; echo \"$1\" >&2; exit 7", "x", "c 'd'"])
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"a\0b\n\n", b"c 'd'\n")
    assert (result.argv[0], result.machine) == ("sh", "container 950")


def test_looks_share_one_shell_and_each_has_its_own_time(guest: Transport) -> None:
    first = pid_of(guest)
    slow = guest.look(["sleep", "2"])
    quick = guest.look(["true"])
    assert pid_of(guest) == first
    assert slow.seconds >= 2 > quick.seconds


def test_look_that_reads_its_input_reads_nothing_of_the_next_look(guest: Transport) -> None:
    assert guest.look(["cat"]).stdout == b""
    assert guest.look(["echo", "next"]).stdout == b"next\n"
    assert guest.look(["cat"], stdin=b"given").stdout == b"given"


def test_look_that_floods_is_ended_and_the_next_one_answers(guest: Transport) -> None:
    with naming(LimitExceeded, "container 950", "cat /dev/zero", "1 MiB"):
        guest.look(["cat", "/dev/zero"])
    assert len(guest.look(["head", "-c", str(LIMIT), "/dev/zero"]).stdout) == LIMIT
    with naming(LimitExceeded, "10 bytes"):
        guest.look(["echo", "more than ten"], limit=10)


def test_look_that_never_ends_is_ended_at_its_deadline(guest: Transport, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with naming(LimitExceeded, "container 950", "within 1 s"):
        guest.look(["sh", "-c", f"echo $$ >{pid}; exec sleep 300"], timeout=1)
    assert gone(int(pid.read_text()))
    assert guest.look(["echo", "next"]).stdout == b"next\n"


@pytest.mark.parametrize("leaves", ["", "setsid "])
def test_process_that_a_look_leaves_behind_does_not_speak_into_a_later_one(
    guest: Transport, leaves: str
) -> None:
    first = guest.look(["sh", "-c", f"echo one; {leaves}sh -c 'sleep 0.3; echo stray' &"])
    assert first.stdout == b"one\n"
    time.sleep(0.6)
    assert guest.look(["echo", "two"]).stdout == b"two\n"


def test_process_that_a_look_leaves_behind_does_not_speak_during_the_next_one(
    guest: Transport,
) -> None:
    guest.look(["sh", "-c", "sh -c 'sleep 0.3; echo stray' &"])
    assert guest.look(["sh", "-c", "sleep 0.6; echo two"]).stdout == b"two\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_shell_that_was_ended_is_opened_anew(guest: Transport, number: int) -> None:
    """As that of a container that was restarted, or whose root ends it."""
    first = pid_of(guest)
    os.kill(first, number)
    assert guest.look(["echo", "again"]).stdout == b"again\n"
    assert pid_of(guest) != first


def test_look_whose_shell_is_killed_meanwhile_is_asked_once_more(
    guest: Transport, tmp_path: Path
) -> None:
    pid_of(guest)
    killer = (
        f"test -e {tmp_path}/done || {{ touch {tmp_path}/done; kill -9 $(ps -o ppid= $PPID); }}"
    )
    assert guest.look(["sh", "-c", f"{killer}; echo lived"]).stdout == b"lived\n"


class Lying:
    """A shell whose guest's root wrote this instead; ``MARK`` stands for the mark of the look.

    Args:
        says: each answer, on both outputs.
    """

    def __init__(self, *says: str) -> None:
        self._says = list(says)

    def exchange(self, line: bytes, *_: object) -> tuple[bytes, bytes]:
        mark = line.rpartition(b"look ")[2].split()[0]
        said = self._says.pop(0).encode().replace(b"MARK", mark)
        return said, said

    def hang_up(self) -> None:
        """It is gone."""


WHOLE = "\nMARK\na\nMARK 0\n"


def asked(*says: str) -> list[Answer | None]:
    one = shell.Shell(Lying(*says))  # type: ignore[arg-type]
    return [one.ask(["true"], 5, LIMIT) for _ in says]


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        ("noise" + WHOLE, (0, b"a", b"a")),
        ("\nMARK\na\nMARK 7\nb\nMARK 0\n", (0, b"a\nMARK 7\nb", b"a\nMARK 7\nb")),
        ("\nMARK\na\nMARK \n", (255, b"a", b"a")),
        ("\nMARK\na\nMARK -1\n", (255, b"a", b"a")),
        ("a\nMARK 0\n", (255, b"", b"")),
        ("\nMARK\na\n", None),
        (WHOLE + "more", None),
        ("", None),
    ],
)
def test_answer_that_a_guest_forges_is_read_as_it_stands(says: str, answer: Answer | None) -> None:
    (found,) = asked(says)
    if found:  # the mark is another one each time
        found = found[0], *(re.sub(rb"\b[0-9a-f]{32}\b", b"MARK", each) for each in found[1:])
    assert found == answer


def test_answer_after_words_of_nobody_is_not_taken() -> None:
    """A process that an earlier look left behind may speak on."""
    assert asked(WHOLE, "stray" + WHOLE) == [(0, b"a", b"a"), None]


@pytest.mark.parametrize(
    ("prefix", "code"), [(["false"], 1), (["sh", "-c", "echo refused >&2; exit 255"], 255)]
)
def test_shell_that_does_not_start_shows_how_the_runtime_ended(
    raw: Machine, prefix: list[str], code: int
) -> None:
    seen: list[CommandResult] = []
    guest = Inside(raw, "container 950", prefix, seen.append)
    assert guest.look(["true"]).exit_code == code
    assert [result.stderr for result in seen] == [b"refused\n" if code == 255 else b""]


def test_shell_that_ends_as_if_all_were_well_is_no_answer(raw: Machine) -> None:
    with pytest.raises(TransportError):
        Inside(raw, "container 950", ["true"]).look(["false"])


def test_old_shells_are_closed(raw: Machine) -> None:
    guests = [Inside(raw, name, ["env", f"NAME={name}"]) for name in "abcde"]
    pids = [pid_of(guest) for guest in guests]
    assert all(map(gone, pids[: -shell.MOST]))
    assert [pid_of(guest) for guest in guests[-shell.MOST :]] == pids[-shell.MOST :]
    raw.close()
    assert all(map(gone, pids))


def test_look_during_which_the_node_ends_its_shell_is_asked_once_more(
    raw: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shell, "LASTS", 1.0)
    node = Inside(raw, "node", marked=True)
    first = pid_of(node)
    slow = f'echo >>{tmp_path}/asked; test "$(wc -l <{tmp_path}/asked)" = 2 || sleep 20; echo {{}}'
    assert node.look(["sh", "-c", slow]).stdout == b"{}\n"
    assert pid_of(node) != first


@pytest.mark.skipif("os.geteuid() != 0", reason="this machine's node must be root's")
def test_connection_that_drops_during_a_look_is_told(server: Sshd, ssh: Ssh) -> None:
    node = as_root(ssh, sudo=False)
    with pytest.raises(Dropped):
        node.look(["sh", "-c", f"kill {server.sessions()[0]}; sleep 5"])
    assert node.look(["echo", "anew"]).stdout == b"anew\n"
