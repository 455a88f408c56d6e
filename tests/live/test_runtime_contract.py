"""One contract, two runtimes: what holds for ``Pct`` holds for ``Lxc``, on one container."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.target import parse
from docker_lxc_gate.machines.transport import Inside, Transport
from proof.faults.fault import CTID
from proof.faults.snapshots import WITHOUT_BACKUPS
from remediation.desired import FEATURES, PROFILE
from tests.live.running import restore

KINDS = {"pct": Pct, "lxc": Lxc}
#: A container that there is not.
NOBODY = 999
STATED = {
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
#: What LXC itself says to whatever it starts, and what the container's configuration does.
LXCS = {"container", "TERM"}
LARGE = hashlib.shake_256(b"large").digest(5 << 20)
WORDS = ["a b", "it's", '"', "new\nline", "", "-n", "--", "$HOME", "*", "\\", "`id`", "\xfc"]


@pytest.fixture(scope="module", params=sorted(KINDS))
def runtime(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Pct | Lxc]:
    """The runtime as a target opens it, on a node that was put back."""
    restore(lab, WITHOUT_BACKUPS)
    asked = msgspec.structs.replace(parse(f"lab/{CTID}"), runtime=request.param)
    with connect.opened(asked, lab=lab_address) as opened:
        assert isinstance(opened, Pct | Lxc)
        assert type(opened) is KINDS[request.param]
        yield opened


@pytest.fixture
def inside(runtime: Pct | Lxc) -> Transport:
    """The inside of the container, which runs."""
    return runtime.inside(CTID)


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 255])
def test_exit_code_is_the_commands_own(inside: Transport, code: int) -> None:
    """Also those with which the runtime itself would fail."""
    result = inside.run(["sh", "-c", f"echo said; echo complained >&2; exit {code}"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, b"said\n", b"complained\n")


def test_exit_code_of_a_command_missing_or_killed_is_a_shells(inside: Transport) -> None:
    """As a shell tells it."""
    assert inside.run(["no-such-program"]).exit_code == 127
    assert inside.run(["/etc/passwd"]).exit_code == 126
    assert inside.run(["command", "-v", "sh"]).exit_code == 127, "there is a shell in between"
    assert inside.run(["sh", "-c", "kill -KILL $$"]).exit_code == 137


def test_argv_arrives_as_it_is(inside: Transport) -> None:
    """No shell on the way reads it."""
    result = inside.run(["printf", "%s\\0", *WORDS])
    assert result.require().stdout.decode().split("\0")[:-1] == WORDS
    assert result.argv == ("printf", "%s\\0", *WORDS)


def test_environment_inside_is_not_the_callers(runtime: Pct | Lxc) -> None:
    """Nothing of the caller's comes along."""
    callers = ["env", "CALLERS=own", "HOME=/nowhere", "LC_ALL=C", "TERM=dumb"]
    node = Inside(runtime.node, "the node", callers)
    answer = type(runtime)(node).inside(CTID).run(["env", "-0"]).require().text
    found = dict(pair.split("=", 1) for pair in answer.split("\0")[:-1])
    assert {key: found.get(key) for key in STATED} == STATED
    assert found.keys() - STATED.keys() <= LXCS
    assert found.get("TERM") != "dumb"


def test_bytes_pass_unchanged_both_ways(inside: Transport) -> None:
    """All of them, and many."""
    for content in (bytes(range(256)), b"\r\n\x04\x03\xff", LARGE):
        echoed = inside.run(["cat"], stdin=content, limit=len(LARGE))
        assert echoed.require().stdout == content


def test_both_streams_at_once(inside: Transport) -> None:
    """Neither waits for the other, and they are kept apart."""
    script = "for _ in 1 2 3; do head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; done"
    result = inside.run(["sh", "-c", script], limit=3_000_000).require()
    assert (len(result.stdout), len(result.stderr)) == (3_000_000, 3_000_000)
    assert inside.run(["cat"]).stdout == b"", "standard input is not closed"


def test_deadline_ends_the_command_inside(runtime: Pct | Lxc, inside: Transport) -> None:
    """Seen from the node, by its pid: the runtime's own program would leave it running."""
    seconds = f"4711.{time.time_ns() % 1000:03}"
    look = ["pgrep", "-fx", f"sleep {seconds.replace('.', '[.]')}"]
    with ThreadPoolExecutor(1) as apart:
        late = apart.submit(inside.run, ["sleep", seconds], timeout=8)
        pids: list[str] = []
        while not pids and not late.done():
            pids = runtime.node.run(look).text.split()
        with pytest.raises(TransportError, match=r"sleep .* did not end within 8 s"):
            late.result()
    assert len(pids) == 1, "it was never seen"
    assert runtime.node.read(f"/proc/{pids[0]}/comm") is None


def test_absent_is_none_and_unreadable_is_an_error(inside: Transport) -> None:
    """Never an empty file instead."""
    assert inside.read("/nowhere/at/all") is None
    assert inside.read("/dev/null") == b""
    with pytest.raises(CommandFailed, match="Is a directory"):
        inside.read("/etc")


def test_as_written_and_in_effect(runtime: Pct | Lxc) -> None:
    """The same profile; and what Docker needs, in the same words."""
    for seen in (runtime.configuration(CTID), runtime.effective(CTID)):
        assert seen.all("lxc.apparmor.profile")[-1].value == PROFILE
    assert runtime.features(CTID).items() >= FEATURES.items()
    assert runtime.started_with(CTID) == runtime.started_with(CTID) != ""


def test_init_pid_is_that_of_the_first_process(runtime: Pct | Lxc) -> None:
    """Its pid on the node; inside it is 1."""
    status = (runtime.node.read(f"/proc/{runtime.init_pid(CTID)}/status") or b"").decode()
    assert f"NSpid:\t{runtime.init_pid(CTID)}\t1\n" in status


def test_container_that_does_not_exist_has_no_state_and_an_error(runtime: Pct | Lxc) -> None:
    """None, or an error that says what to do."""
    assert runtime.state(NOBODY) is None
    with pytest.raises(TransportError, match=f"there is no container {NOBODY} "):
        runtime.inside(NOBODY).run(["true"])
    with pytest.raises(FactError, match=f"there is no container {NOBODY} "):
        runtime.configuration(NOBODY)
    with pytest.raises(FactError):
        runtime.effective(NOBODY)
    with pytest.raises(TransportError):
        runtime.init_pid(NOBODY)


def test_there_and_back(runtime: Pct | Lxc, inside: Transport) -> None:
    """Running, stopped, and running again; last, since it takes its time."""
    assert runtime.state(CTID) == "running"
    runtime.shutdown(CTID)
    assert runtime.state(CTID) == "stopped"
    with pytest.raises(TransportError, match="start it: "):
        inside.run(["true"])
    with pytest.raises(TransportError, match="not running"):
        runtime.init_pid(CTID)
    runtime.start(CTID)
    wait_until_booted(inside)
    assert runtime.state(CTID) == "running"
