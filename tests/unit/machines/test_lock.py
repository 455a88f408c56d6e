"""One run at a time: who has the node, until when, and that nobody dead has it."""

import getpass
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from docker_lxc_gate.errors import LockedError, TransportError
from docker_lxc_gate.machines.child import Hold
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.transport import Local
from remediation.engine.action import Step
from remediation.engine.apply import apply
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.flag import ON, Flag, journal
from tests.doubles.naming import naming
from tests.doubles.programs.processes import until
from tests.doubles.samples import ROOT, sample

_OWNER = """
import sys, time
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.transport import Local, RUN_ID
with Lock(Local(), sys.argv[1]).held("apply the plan to container 951"):
    print(RUN_ID, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "gate.lock")


@contextmanager
def owner(path: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another program that holds the lock; its process and the id of its run."""
    argv = [sys.executable, "-c", _OWNER, path]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def command_of(run: str, user: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A command on the node that a run started, and that runs until the context ends."""
    argv = ["timeout", "300", "env", f"DOCKER_LXC_GATE_RUN={run}", "sleep", "300"]
    with subprocess.Popen(argv, user=user) as left:
        try:
            until(lambda: Path(f"/proc/{left.pid}/cmdline").read_bytes())  # exec takes a moment
            yield left
            assert left.poll() is None
        finally:
            left.terminate()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def free(path: str) -> bool:
    try:
        with Lock(ON, path).held("look"):
            return True
    except LockedError:
        return False


def test_lock_that_is_held_refuses_a_second_and_names_the_holder(path: str) -> None:
    who = (getpass.getuser(), socket.gethostname(), f"pid {os.getpid()}")
    now = f"{datetime.now(UTC):%Y-}"
    with (
        Lock(ON, path).held("apply the plan to container 950"),
        naming(LockedError, "localhost", *who, now, "container 950"),
        Lock(ON, path).held("rollback"),
    ):
        pass


def test_lock_that_was_released_is_free_and_its_file_empty(path: str) -> None:
    for _ in range(2):
        with Lock(ON, path).held("something"):
            assert "something" in Path(path).read_text()
        assert Path(path).read_bytes() == b""
    assert Path(path).stat().st_mode & 0o7777 == 0o600


def test_lock_within_itself_is_held_until_the_outer_end(path: str) -> None:
    lock = Lock(ON, path)
    with lock.held("outer"):
        with lock.held("inner"):
            pass
        assert not free(path)
    assert free(path)


def test_lock_after_ctrl_c_in_a_terminal_is_held_by_its_holder_still(path: str) -> None:
    """It goes to the whole group; the owner lets go when it has seen to its last commands."""
    program = f"""
import signal
signal.signal(signal.SIGINT, lambda *_: None)
{_OWNER}"""
    argv = ["env", "--default-signal=INT", sys.executable, "-c", program, path]
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert len(process.stdout.readline().strip()) == 32
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
        taken = not free(path)
        process.kill()
    assert taken


def test_lock_whose_holder_left_a_command_is_held_until_that_ends(path: str) -> None:
    with owner(path) as (process, run):
        with command_of(run):
            kill(process)
            with naming(LockedError, f"pid {process.pid}"):
                Lock(ON, path).held("look").__enter__()
        until(lambda: free(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can run as another user")
def test_lock_while_another_user_imitates_a_command_of_the_run_is_free(path: str) -> None:
    with owner(path) as (process, run), command_of(run, "nobody"):
        kill(process)
        assert free(path)


def test_lock_while_another_program_of_root_imitates_a_command_of_the_run_is_free(
    path: str,
) -> None:
    """A user who starts a setuid program chooses its words."""
    with owner(path) as (process, run):
        words = ["timeout", "-c", "import time; time.sleep(300)", f"DOCKER_LXC_GATE_RUN={run}", "x"]
        with subprocess.Popen(words, executable=sys.executable) as imitating:
            kill(process)
            assert free(path)
            imitating.kill()


def reader(path: str) -> int:
    """Return the process that may be ended, as one who finds the lock taken is told it."""
    with pytest.raises(LockedError) as caught:
        Lock(ON, path).held("look").__enter__()
    told = re.search(r"\bkill (\d+)$", str(caught.value))
    return int(told[1]) if told else 0


def test_lock_whose_holders_machine_vanished_is_freed_by_killing_that_process(path: str) -> None:
    with owner(path) as (process, _):
        os.kill(reader(path), signal.SIGTERM)
        until(lambda: free(path))
        assert process.poll() is None  # nothing has told it


def test_lock_whose_named_process_was_killed_waits_for_the_last_command(path: str) -> None:
    """And names no process any more: its number may be another's by then."""
    with owner(path) as (process, run), command_of(run):
        os.kill(reader(path), signal.SIGTERM)
        assert reader(path) == 0
        with naming(LockedError, f"pid {process.pid}"):
            Lock(ON, path).held("look").__enter__()


def test_lock_that_cannot_be_made_is_no_lock_that_is_held(tmp_path: Path) -> None:
    path = tmp_path / "none/gate.lock"
    with (
        naming(TransportError, "localhost", path, f"findmnt -T {path.parent}") as caught,
        Lock(ON, str(path)).held("look"),
    ):
        pass
    assert caught.value.__cause__ is None  # or our script would be shown


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[]", b'{"user": "\xff"}', b"[" * 2_000])
def test_lock_whose_file_cannot_be_read_is_held_all_the_same(path: str, content: bytes) -> None:
    with Lock(ON, path).held("something"):
        Path(path).write_bytes(content)
        with naming(LockedError, "localhost"):
            Lock(ON, path).held("look").__enter__()


class Cut(Local):
    """This machine, over a connection that can be cut."""

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        self.held = super().hold(argv, word)
        return self.held

    def cut(self) -> None:
        self.held.release()


def test_lock_that_was_cut_off_is_not_taken_again_within_the_run(path: str) -> None:
    """Somebody else may have had the node since: what this run had looked at is no longer so."""
    node = Cut()
    lock = Lock(node, path)
    with lock.held("outer"):
        node.cut()
        assert free(path)
        for _ in range(2):
            with naming(TransportError, "localhost"), lock.held("inner"):
                pytest.fail("it went on without the lock")
        assert free(path)
    with lock.held("another run"):
        assert not free(path)
    assert free(path)


def test_plan_that_lost_the_lock_rolls_back_under_a_new_one(tmp_path: Path, path: str) -> None:
    node, held = Cut(), list[str]()
    lock = Lock(node, path)

    def loses(flag: Flag) -> None:
        flag.value = "new"
        node.cut()

    @contextmanager
    def exclusive(doing: str) -> Iterator[None]:
        with lock.held(doing):
            held.append(doing)
            yield

    one, two = Flag("one", on_apply=loses), Flag("two")
    it = Plan([Step(one, ON), Step(two, ON)], journal(tmp_path), exclusive=exclusive)
    with pytest.raises(TransportError):
        apply(it)
    assert (one.value, two.value) == ("old", "old")
    assert "roll back what failed in container 950" in held
    assert not any("apply: two" in doing for doing in held)
    assert not it.journal.interrupted()
    assert free(path)


_INTERRUPTED = sample("programs/interrupted_plan")


@pytest.mark.skipif(os.geteuid() != 0, reason="this machine's node must be root's")
@pytest.mark.parametrize("later", [(), (signal.SIGTERM, signal.SIGINT)], ids=["alone", "not alone"])
def test_plan_after_ctrl_c_rolls_back_when_its_last_command_has_ended(
    tmp_path: Path, later: tuple[int, ...]
) -> None:
    """The command needs a second to end: what is rolled back meanwhile, it would spoil again."""
    log = tmp_path / "log"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    # A shell's background job ignores Ctrl-C, and so would what it starts.
    argv = ["env", "--default-signal=INT", sys.executable, "-c", _INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(
        argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        until(log.exists)
        time.sleep(0.3)  # it has begun before its parent knows of it
        for number in (signal.SIGINT, *later):
            process.send_signal(number)
            time.sleep(0.2)
        _, said = process.communicate(timeout=300)
    assert "KeyboardInterrupt" in said
    assert "RollbackFailed" not in said
    left = subprocess.run(["pgrep", "-af", run], capture_output=True, text=True, check=False)
    assert (len(run), left.stdout) == (32, "")
    assert log.read_text().split("\n") == ["begun", "ended", "rolled back", ""]
    assert not journal(tmp_path).interrupted()
    assert free(str(tmp_path / "gate.lock"))


def test_plan_while_another_run_holds_the_node_changes_nothing(tmp_path: Path, path: str) -> None:
    one = Flag("one")
    it = Plan([Step(one, ON)], journal(tmp_path), exclusive=Lock(ON, path).held)
    with owner(path):
        for run in (apply, roll_back):
            with naming(LockedError, "container 951"):
                run(it)
    assert one.value == "old"
    apply(it)
    roll_back(it)
    assert free(path)
