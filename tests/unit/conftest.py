"""Keeps these tests away from this machine's journal and lock, and gives a user and an sshd."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.machines import lock
from docker_lxc_gate.machines.runtime import waiting
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from remediation.engine import journal
from tests.doubles.programs.sshd import ME, Sshd, new_key, running

_FORBIDDEN = (journal.DIRECTORY, lock.PATH)


@pytest.fixture(autouse=True, scope="session")
def _not_this_machines_own() -> Iterator[None]:
    """Fail before a command that names them is started, by whatever transport."""
    start = subprocess.Popen.__init__

    def guarded(self: Any, argv: Sequence[str], *args: Any, **options: Any) -> None:
        if any(path in str(word) for path in _FORBIDDEN for word in argv):
            raise AssertionError(f"a test was about to touch this machine's own: {argv}")
        start(self, argv, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", guarded)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_test_waits_for_a_lock() -> Iterator[None]:
    """`lock.sh` gives the holder of a lock three seconds; most tests know that it stays."""
    short = lock._HOLD.replace("flock -w 3 ", "flock -w 0.3 ")
    assert short != lock._HOLD
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "_HOLD", short)
        yield


class _Clock:
    """Only sleep moves it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True, scope="session")
def _waiting_takes_no_time() -> Iterator[None]:
    """No machine of these tests needs any to boot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "time", _Clock())
        yield


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return what puts a shell script of ours before a program of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}/stubs", prepend=os.pathsep)

    def put(name: str, script: str) -> Path:
        (path := tmp_path / "stubs" / name).parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return put


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home with one key, no agent, and nothing known."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    new_key(folder / ".ssh/id_ed25519")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def server(home: Path, tmp_path: Path) -> Iterator[Sshd]:
    """A server that lets the user's key in; its host key is known."""
    with running(tmp_path / "server", home / ".ssh/id_ed25519.pub") as one:
        (home / ".ssh/known_hosts").write_text(one.known_as)
        yield one


@pytest.fixture
def ssh(server: Sshd) -> Iterator[Ssh]:
    """A connection to it."""
    connection = Ssh(SshAddress("127.0.0.1", server.port, ME))
    yield connection
    connection.close()
