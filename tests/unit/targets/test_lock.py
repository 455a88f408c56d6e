"""One run at a time: who has the node, until when, and that nobody dead has it."""

from __future__ import annotations

import getpass
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remediation.engine.action import Step
from remediation.engine.plan import Plan
from targets.errors import LockedError, TransportError
from targets.lock import Lock
from targets.transport import Local
from tests.doubles.flag import ON, Flag, journal

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
_OWNER = """
import sys, time
from targets.lock import Lock
from targets.transport import Local, RUN_ID
with Lock(Local(), sys.argv[1]).held("apply the plan to container 951"):
    print(RUN_ID, flush=True)
    time.sleep(60)
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


def free(path: str) -> bool:
    try:
        with Lock(ON, path).held("look"):
            return True
    except LockedError:
        return False


def test_a_second_one_is_refused_and_told_by_whom(path: str) -> None:
    with (
        Lock(ON, path).held("apply the plan to container 950"),
        pytest.raises(LockedError) as caught,
        Lock(ON, path).held("rollback"),
    ):
        pass
    said = str(caught.value)
    assert f"{getpass.getuser()} on {socket.gethostname()} (pid {os.getpid()})" in said
    assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00, to apply the plan to", said)
    assert "container 950" in said
    assert said.startswith("localhost is in use")


def test_it_is_free_afterwards_and_says_nothing_of_its_last_owner(path: str) -> None:
    for _ in range(2):
        with Lock(ON, path).held("something"):
            assert "something" in Path(path).read_text()
        assert Path(path).read_bytes() == b""
    assert Path(path).stat().st_mode & 0o7777 == 0o600


def test_it_is_free_after_an_error(path: str) -> None:
    with pytest.raises(ZeroDivisionError), Lock(ON, path).held("something"):
        raise ZeroDivisionError
    assert free(path)


def test_within_itself_it_is_held_already_and_longer_than_that(path: str) -> None:
    lock = Lock(ON, path)
    with lock.held("outer"):
        with lock.held("inner"):
            pass
        assert not free(path)
    assert free(path)


def test_another_program_that_has_it_is_named(path: str) -> None:
    with owner(path) as (process, _):
        with pytest.raises(LockedError, match=rf"pid {process.pid}\) .* container 951"):
            Lock(ON, path).held("look").__enter__()
        assert process.poll() is None


def test_an_owner_that_was_killed_has_it_no_more(path: str) -> None:
    with owner(path) as (process, _):
        assert not free(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert Path(path).exists()
        assert free(path)


def test_a_file_alone_is_no_lock(path: str) -> None:
    Path(path).write_text('{"who":"somebody","at":"elsewhere","pid":1}')
    assert free(path)


def test_a_terminals_ctrl_c_reaches_its_owner_alone(path: str) -> None:
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


def test_a_command_that_outlives_its_owner_keeps_it(path: str) -> None:
    with owner(path) as (process, run):
        mark = f"DOCKER_LXC_GATE_RUN={run}"
        argv = ["timeout", "20", "env", mark, "sleep", "15"]
        with subprocess.Popen(argv) as left:
            try:
                process.send_signal(signal.SIGKILL)
                process.wait()
                with pytest.raises(LockedError, match=f"pid {process.pid}"):
                    Lock(ON, path).held("look").__enter__()
                assert left.poll() is None
            finally:
                left.terminate()
        deadline = time.monotonic() + 10
        while not free(path):
            assert time.monotonic() < deadline


def reader(path: str) -> int:
    """Return the process that may be ended, as one who finds the lock taken is told it."""
    with pytest.raises(LockedError) as caught:
        Lock(ON, path).held("look").__enter__()
    told = re.search(
        rf"If {socket.gethostname()} is gone without a word \(.*\), the node may take hours to "
        r"notice: as root on localhost, kill (\d+)$",
        str(caught.value),
    )
    return int(told[1]) if told else 0


def test_an_owner_whose_machine_vanished_can_be_ended_on_the_node(path: str) -> None:
    with owner(path) as (process, _):
        os.kill(reader(path), signal.SIGTERM)
        deadline = time.monotonic() + 10
        while not free(path):
            assert time.monotonic() < deadline
        assert process.poll() is None  # nothing has told it


def test_ended_by_hand_it_still_waits_for_the_last_command(path: str) -> None:
    """And names no process any more: its number may be another's by then."""
    with owner(path) as (process, run):
        argv = ["timeout", "20", "env", f"DOCKER_LXC_GATE_RUN={run}", "sleep", "15"]
        with subprocess.Popen(argv) as left:
            try:
                os.kill(reader(path), signal.SIGTERM)
                assert reader(path) == 0
                with pytest.raises(LockedError, match=f"pid {process.pid}"):
                    Lock(ON, path).held("look").__enter__()
            finally:
                left.terminate()


def test_a_command_of_another_run_does_not_keep_it(path: str) -> None:
    argv = ["timeout", "20", "env", f"DOCKER_LXC_GATE_RUN={'0' * 32}", "sleep", "15"]
    with owner(path) as (process, _), subprocess.Popen(argv) as left:
        try:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert free(path)
            assert left.poll() is None
        finally:
            left.terminate()


def test_what_cannot_be_locked_is_not_called_taken(tmp_path: Path) -> None:
    path = tmp_path / "none/gate.lock"
    with pytest.raises(TransportError) as caught, Lock(ON, str(path)).held("look"):
        pass
    assert re.fullmatch(
        rf"on localhost: the lock {path} cannot be taken, and nothing was changed: .*cannot create"
        rf".*Is its file system full or read-only\? findmnt -T {path.parent}",
        str(caught.value),
    )
    assert caught.value.__cause__ is None  # or our script would be shown


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_lock_on_a_read_only_file_system_says_so(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(TransportError, match="Read-only file system") as caught:
            Lock(ON, str(tmp_path / "gate.lock")).held("look").__enter__()
        assert "\n" not in str(caught.value)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[]", b'{"user": "\xff"}', b"[" * 2_000])
def test_an_owner_that_cannot_be_read_still_has_it(path: str, content: bytes) -> None:
    with Lock(ON, path).held("something"):
        Path(path).write_bytes(content)
        with pytest.raises(LockedError, match="somebody on an unknown machine"):
            Lock(ON, path).held("look").__enter__()


def test_a_hold_that_was_cut_off_is_not_taken_anew_behind_the_runs_back(path: str) -> None:
    """Somebody else may have had the node since: what this run had looked at is no longer so."""
    lock = Lock(ON, path)
    with lock.held("outer"):
        assert lock._hold is not None
        lock._hold.release()
        assert free(path)
        for _ in range(2):
            with (
                pytest.raises(TransportError, match="held the lock of localhost was cut"),
                lock.held("inner"),
            ):
                pytest.fail("it went on without the lock")
        assert free(path)
    with lock.held("another run"):
        assert not free(path)
    assert free(path)


def test_a_node_has_one_lock_for_all_that_is_done_there() -> None:
    node, other = Local(), Local()
    assert Lock.of(node) is Lock.of(node)
    assert Lock.of(node) is not Lock.of(other)


def test_a_run_that_lost_the_lock_changes_nothing_more_and_takes_back_under_a_new_one(
    tmp_path: Path, path: str
) -> None:
    lock, held = Lock(ON, path), list[str]()

    def loses(flag: Flag) -> None:
        flag.value = "new"
        assert lock._hold is not None
        lock._hold.release()

    @contextmanager
    def exclusive(doing: str) -> Iterator[None]:
        with lock.held(doing):
            held.append(doing)
            yield

    one, two = Flag("one", on_apply=loses), Flag("two")
    it = Plan([Step(one, ON), Step(two, ON)], journal(tmp_path), exclusive=exclusive)
    with pytest.raises(TransportError, match="was cut, so this run ends"):
        it.apply()
    assert (one.value, two.value) == ("old", "old")
    assert "roll back what failed in container 950" in held
    assert not any("apply: two" in doing for doing in held)
    assert not it.journal.unfinished()
    assert free(path)


_INTERRUPTED = """
import sys
from pathlib import Path
from tests.doubles.flag import Flag, journal
from targets.lock import Lock
from remediation.engine.action import Step
from remediation.engine.plan import Plan
from targets.transport import Local
from targets.root import as_root
from targets.transport import RUN_ID, Local

folder, node = Path(sys.argv[1]), as_root(Local(), sudo=False)
script = "trap 'trap : TERM; sleep 1; echo ended >>$0' TERM; echo begun >>$0; sleep 30 & wait; wait"

class Slow(Flag):
    def rollback(self, on, before):
        with (folder / "log").open("a") as log:
            log.write("rolled back\\n")
        super().rollback(on, before)

def run(flag):
    node.run(["sh", "-c", script, str(folder / "log")])

print(RUN_ID, flush=True)
steps = [Step(Slow("slow", on_apply=run), node)]
exclusive = Lock(node, str(folder / "gate.lock")).held
Plan(steps, journal(folder, on=node), exclusive=exclusive).apply()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="this machine's node must be root's")
def test_ctrl_c_leaves_nothing_at_work_and_takes_back_only_when_nothing_is(tmp_path: Path) -> None:
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
        deadline = time.monotonic() + 20
        while not log.exists():
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.05)
        time.sleep(0.3)  # it has begun before its parent knows of it
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=40)
    assert "KeyboardInterrupt" in said
    assert "RollbackFailed" not in said
    left = subprocess.run(["pgrep", "-af", run], capture_output=True, text=True, check=False)
    assert (len(run), left.stdout) == (32, "")
    assert log.read_text().split("\n") == ["begun", "ended", "rolled back", ""]
    assert not journal(tmp_path).unfinished()
    assert free(str(tmp_path / "gate.lock"))


def test_a_plan_is_not_begun_while_another_has_the_node(tmp_path: Path, path: str) -> None:
    one = Flag("one")
    it = Plan([Step(one, ON)], journal(tmp_path), exclusive=Lock(ON, path).held)
    with owner(path):
        for run in (it.apply, it.rollback):
            with pytest.raises(LockedError, match="container 951"):
                run()
    assert one.value == "old"
    it.apply()
    it.rollback()
    assert free(path)
