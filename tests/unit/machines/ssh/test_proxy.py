"""What carries the bytes to a machine that cannot be reached directly: ssh itself, or a program."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from docker_lxc_gate.errors import Dropped, Unreachable
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from tests.doubles.naming import naming
from tests.doubles.programs.processes import children, gone
from tests.doubles.programs.sshd import ME, Sshd, new_key, running


@pytest.mark.parametrize("stated", [True, False], ids=["by the target", "by the configuration"])
def test_jump_host_with_its_own_key_and_known_hosts(
    home: Path, server: Sshd, tmp_path: Path, stated: bool
) -> None:
    key, known = new_key(tmp_path / "jumps"), tmp_path / "known"
    with running(tmp_path / "jump", key.with_suffix(".pub")) as jump:
        known.write_text(jump.known_as)
        (home / ".ssh/config").write_text(
            f"Host bastion\n HostName 127.0.0.1\n Port {jump.port}\n User {ME}\n"
            f" IdentityFile {key}\n UserKnownHostsFile {known}\n"
            f"Host pve1\n HostName 127.0.0.1\n Port {server.port}\n User {ME}\n"
            + ("" if stated else " ProxyJump bastion\nHost pve*\n ProxyCommand false\n")
        )
        ssh = Ssh(SshAddress("pve1", jump="bastion" if stated else ""))
        assert ssh.run(["echo", "a b"]).stdout == b"a b\n"
        assert ssh.host_key == f"ssh-ed25519 {server.fingerprint}"
        assert len(jump.sessions()) == len(server.sessions()) == 1
        (proxy,) = children(os.getpid())[-1:]
        ssh.close()
        assert not Path(f"/proc/{proxy}").exists(), "it was not waited for"


def test_jump_host_that_is_not_there_is_named(home: Path, server: Sshd) -> None:
    by_hand = f"ssh -o BatchMode=yes -J x@127.0.0.1:1 -p {server.port} {ME}@127.0.0.1 true"
    with naming(Unreachable, "jump host x@127.0.0.1:1", "Connection refused", by_hand):
        Ssh(SshAddress("127.0.0.1", server.port, ME, jump="x@127.0.0.1:1")).run(["true"])


def test_proxy_command_carries_a_connection(home: Path, server: Sshd, tmp_path: Path) -> None:
    """And talks a lot: nothing waits for a reader of its messages."""
    with running(tmp_path / "jump", home / ".ssh/id_ed25519.pub") as jump:
        (tmp_path / "known").write_text(jump.known_as)
        client = f"ssh -F none -i {home}/.ssh/id_ed25519 -o UserKnownHostsFile={tmp_path}/known"
        script = (
            f"head -c 200000 /dev/zero >&2; exec {client} -p {jump.port} -W %h:%p {ME}@127.0.0.1"
        )
        (home / ".ssh/config").write_text(
            f"Host pve1\n HostName 127.0.0.1\n Port {server.port}\n User {ME}\n"
            f" ProxyCommand sh -c '{script}'\n"
        )
        ssh = Ssh(SshAddress("pve1"))
        assert ssh.run(["cat"], stdin=bytes(1 << 20)).stdout == bytes(1 << 20)
        proxy = children(os.getpid())[-1]
        assert os.getsid(proxy) == proxy, "it has a terminal"
        os.kill(proxy, signal.SIGKILL)
        with suppress(Dropped):  # or the end is known before, and it connects again
            ssh.run(["true"])
        assert ssh.run(["true"]).ok
        ssh.close()


def test_proxy_command_that_fails_is_told_in_its_words(home: Path) -> None:
    (home / ".ssh/config").write_text(
        "ProxyCommand sh -c 'yes no | head -c 99999 >&2; printf \"\\033[2Jno way\\n\" >&2'\n"
    )
    with naming(Unreachable, "pve1 through its ProxyCommand", r"\x1b[2Jno way") as raised:
        Ssh(SshAddress("pve1")).run(["true"])
    assert len(str(raised.value)) < 500


def test_proxy_command_that_does_not_end_is_killed_with_all_that_it_started(
    home: Path, tmp_path: Path
) -> None:
    pids, begun = tmp_path / "pids", time.monotonic()
    script = f'trap "" TERM; echo Hello >&2; sleep 300 & echo $$ $! >{pids}; sleep 300'
    (home / ".ssh/config").write_text(f"ProxyCommand sh -c '{script}'\n")
    with naming(Unreachable, "within 1 s\n  Hello\n"):
        Ssh(SshAddress("pve1"), connect_timeout=1).run(["true"])
    assert time.monotonic() - begun < 15
    assert all(gone(int(pid)) for pid in pids.read_text().split())
