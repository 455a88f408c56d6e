"""What a hostile answer may cost: bytes and seconds, on this machine and over a real sshd."""

import hashlib
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError, LimitExceeded, TransportError
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.transport import Inside, Local, Transport
from remediation.engine.action import Step
from remediation.engine.apply import apply
from remediation.engine.plan import Plan
from tests.doubles.flag import ON, Flag, journal
from tests.doubles.naming import naming
from tests.doubles.programs.processes import gone
from tests.doubles.programs.sshd import Sshd


@pytest.fixture(params=["local", "ssh"])
def on(request: pytest.FixtureRequest) -> Transport:
    if request.param == "local":
        return Local()
    transport: Transport = request.getfixturevalue("ssh")
    return transport


@pytest.mark.parametrize("to", ["", " >&2"], ids=["stdout", "stderr"])
def test_run_that_floods_is_ended_at_the_limit(on: Transport, tmp_path: Path, to: str) -> None:
    pid = tmp_path / "pid"
    with naming(LimitExceeded, on.machine, "1 MiB") as raised:
        on.run(["sh", "-c", f"echo $$ >{pid}; exec cat /dev/zero{to}"], timeout=30)
    assert not raised.value.late  # type: ignore[attr-defined]
    assert gone(int(pid.read_text()))
    assert on.run(["true"]).ok


def test_run_of_large_input_and_outputs_loses_nothing(on: Transport) -> None:
    """Reading one output to its end would stall the other past 2 MiB."""
    sent = bytes(range(256)) * 20_000
    result = on.run(["sh", "-c", "tee /dev/stderr"], stdin=sent, limit=len(sent))
    digests = [hashlib.sha256(each).digest() for each in (sent, result.stdout, result.stderr)]
    assert len(set(digests)) == 1


@pytest.mark.laws
def test_run_that_never_stops_printing_ends_at_the_deadline(on: Transport, tmp_path: Path) -> None:
    """Something comes at every turn: the time is looked at all the same."""
    pid = tmp_path / "pid"
    script = f"echo $$ >{pid}; while :; do echo a || exit; done"
    with pytest.raises(LimitExceeded) as raised:
        on.run(["sh", "-c", script], timeout=8, limit=1 << 40)
    assert raised.value.late
    assert gone(int(pid.read_text()))


@pytest.mark.parametrize("script", ["cat /dev/zero", "sleep 20 & exit 0", "kill -9 $$"])
def test_ssh_command_that_is_ended_costs_neither_connection_nor_lock(
    ssh: Ssh, server: Sshd, tmp_path: Path, script: str
) -> None:
    lock = Lock(ssh, str(tmp_path / "lock"))
    with lock.held("something"):
        [session] = server.sessions()
        with pytest.raises(TransportError):
            ssh.run(["sh", "-c", script], timeout=1)
        assert server.sessions() == [session]
        with lock.held("what follows"):
            assert ssh.run(["true"]).ok


def test_inside_command_that_leaves_its_output_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inside, "GRACE", 0.2)
    node = Inside(Local(), "here")
    with naming(LimitExceeded, "on here") as raised:
        node.run(["sh", "-c", "setsid sleep 20 & exit 0"], timeout=1)
    assert isinstance(raised.value, LimitExceeded)
    assert raised.value.late


def test_capture_file_above_the_limit_names_it_and_its_size(on: Transport, tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    for size in (files.LARGEST + 1, 100 << 20):
        with path.open("wb") as file:
            file.truncate(size)
        with naming(FactError, path, size):
            files.capture(on, str(path))
    with path.open("wb") as file:
        file.truncate(files.LARGEST)
    assert len(files.capture(on, str(path)).content) == files.LARGEST


def test_apply_with_before_images_above_the_limit_changes_nothing(tmp_path: Path) -> None:
    one, two = Flag("one"), Flag("the heavy one", value="x" * (17 << 20))
    it = Plan([Step(one, ON), Step(two, ON)], journal(tmp_path))
    with naming(FactError, "16 MiB", "'the heavy one'"):
        apply(it)
    assert (one.value, two.value[:3]) == ("old", "xxx")
    assert not list(tmp_path.rglob("journal.jsonl"))
