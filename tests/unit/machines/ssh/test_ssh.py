"""SSH as it is: a real server on loopback, and what a reader is told when something is wrong."""

import os
import signal
import socket
import subprocess
import threading
import time
import warnings
from pathlib import Path

import pytest

from docker_lxc_gate.errors import Dropped, TransportError
from docker_lxc_gate.machines.root import as_root
from docker_lxc_gate.machines.ssh import connection
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from tests.doubles.naming import naming
from tests.doubles.programs.processes import gone, until
from tests.doubles.programs.sshd import ME, Sshd, new_key, running


def test_refused_key_names_the_user_and_a_command(home: Path, server: Sshd, tmp_path: Path) -> None:
    stranger = new_key(tmp_path / "stranger")
    (home / ".ssh/id_ed25519").unlink()
    by_hand = f"ssh -o BatchMode=yes -p {server.port} {ME}@127.0.0.1 true"
    with naming(TransportError, f"{ME}@127.0.0.1", "none of the SSH keys offered", by_hand):
        Ssh(SshAddress("127.0.0.1", server.port, ME, stranger)).run(["true"])


@pytest.mark.parametrize("stated", [True, False], ids=["by the target", "the user's own"])
def test_key_with_a_passphrase_is_named(
    home: Path, server: Sshd, tmp_path: Path, stated: bool
) -> None:
    key = home / ".ssh/id_ed25519"
    argv = ["ssh-keygen", "-p", "-f", str(key), "-N", "a phrase"]
    subprocess.run(argv, check=True, capture_output=True)
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("127.0.0.1", server.port, ME, key if stated else None)).run(["true"])
    said = str(raised.value)
    assert said.count("has a passphrase") == 1
    assert f"\n{key} has a passphrase, and there is no prompt for it here: add the key " in said


def test_ssh_to_a_closed_port_names_the_address(home: Path) -> None:
    with naming(TransportError, "x@127.0.0.1:1", "Connection refused") as raised:
        Ssh(SshAddress("127.0.0.1", 1, "x")).run(["true"])
    assert "ssh -o" not in str(raised.value), "by hand it would be refused, too"


def test_ssh_with_the_name_of_an_agent_that_is_gone_leaves_no_socket_open(
    ssh: Ssh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's warning about it made the gate's first scenario undetermined."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent/agent")
    with warnings.catch_warnings(record=True, action="always") as seen:
        assert ssh.run(["true"]).ok
    assert [str(each.message) for each in seen] == []


def test_ssh_with_no_key_says_where_it_looked(home: Path, server: Sshd) -> None:
    (home / ".ssh/id_ed25519").unlink()
    with naming(TransportError, "no SSH key found", "(no agent, none in ~/.ssh)"):
        Ssh(SshAddress("127.0.0.1", server.port, ME)).run(["true"])


@pytest.mark.parametrize("stated", [True, False], ids=["by the target", "the user's own"])
def test_ssh_offers_no_key_that_others_may_read(home: Path, server: Sshd, stated: bool) -> None:
    """OpenSSH does not, either: what works here must work by hand."""
    key = home / ".ssh/id_ed25519"
    key.chmod(0o644)
    ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, key if stated else None))
    with naming(TransportError, f"{key} was not offered", "0644", f"chmod 600 {key}"):
        ssh.run(["true"])
    client = ["ssh", "-F", "none", "-i", key, "-o", "BatchMode=yes", "-p", str(server.port)]
    client += ["-o", f"UserKnownHostsFile={home}/.ssh/known_hosts", f"{ME}@127.0.0.1", "true"]
    assert subprocess.run(client, check=False, capture_output=True).returncode == 255
    key.chmod(0o600)
    assert ssh.run(["true"]).ok
    ssh.close()


def test_key_that_only_the_agent_has_is_used(
    home: Path, server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, key = tmp_path / "agent", home / ".ssh/id_ed25519"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        until(lambda: not subprocess.run(["ssh-add", "-q", str(key)], check=False).returncode)
        key.unlink()
        ssh = Ssh(SshAddress("127.0.0.1", server.port, ME))
        assert ssh.run(["true"]).ok
        ssh.close()
    finally:
        agent.terminate()
        agent.wait(300)


def test_arguments_are_not_a_shells_text(ssh: Ssh) -> None:
    odd = ["a b", "$HOME", "'", '"', "*", "\n", "", "-n"]
    result = ssh.run(["printf", "%s\\0", *odd])
    assert result.stdout == b"".join(word.encode() + b"\0" for word in odd)


def test_exit_code_and_signal(ssh: Ssh) -> None:
    assert ssh.run(["sh", "-c", "exit 7"]).exit_code == 7
    with naming(TransportError, ssh.machine, "kill -9 $PPID"):
        ssh.run(["sh", "-c", "kill -9 $PPID; kill -9 $$"])


def test_deadline_ends_the_command_on_the_far_side(ssh: Ssh, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    node = as_root(ssh, sudo=False)
    argv = ["sh", "-c", f"echo $$ >{pid}; exec sleep 300"]
    with naming(TransportError, f"on {ssh.machine}: sh -c ", "did not end within 3 s"):
        node.run(argv, timeout=3)
    assert gone(int(pid.read_text()))
    assert node.run(["true"]).ok  # over the same connection


def test_deadline_holds_where_the_server_takes_no_more_input(
    monkeypatch: pytest.MonkeyPatch, ssh: Ssh
) -> None:
    sent = socket.socket.send

    def send(stream: socket.socket, out: bytes) -> int:
        if len(out) < 10_000:
            return sent(stream, out)
        time.sleep(0.1)  # as the kernel does while the other side's window is 0
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "send", send)
    monkeypatch.setattr(connection, "_GRACE", 1)
    ssh.run(["true"])
    with naming(Dropped, "cat", "nothing for 6 s", "not known"):
        ssh.run(["cat"], stdin=bytes(1 << 20), timeout=5)
    assert ssh.run(["echo", "again"]).stdout == b"again\n"


def test_dropped_connection_is_not_resent(server: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    log, pid = tmp_path / "log", tmp_path / "pid"
    argv = ["sh", "-c", f"echo once >>{log}; echo $$ >{pid}; exec sleep 300"]
    cut = threading.Thread(
        target=lambda: (until(lambda: pid.exists() and pid.read_text()), server.drop())
    )
    cut.start()
    with naming(Dropped, "ended without an exit status", "whether it did its work is not known"):
        ssh.run(argv)
    cut.join()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert ssh.run(["true"]).ok  # the next command connects anew
    assert log.read_text() == "once\n"


def test_connection_that_drops_before_the_command_is_not_resent_either(
    ssh: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    assert ssh.run(["true"]).ok
    with monkeypatch.context() as patched:

        def cut(*_: object, **__: object) -> None:
            raise EOFError

        patched.setattr("paramiko.Transport.open_session", cut)
        with naming(Dropped, ssh.machine, f"touch {log}", "whether it ran is not known"):
            ssh.run(["touch", str(log)])
    assert ssh.run(["true"]).ok
    assert not log.exists()


def test_session_that_the_server_refuses_leaves_the_held_one(home: Path, tmp_path: Path) -> None:
    """The connection stays: the lock is held over it."""
    key = home / ".ssh/id_ed25519.pub"
    with running(tmp_path / "server", key, "MaxSessions 1\n") as one:
        (home / ".ssh/known_hosts").write_text(one.known_as)
        ssh = Ssh(SshAddress("127.0.0.1", one.port, ME))
        held = ssh.hold(["sh", "-c", "echo held; exec cat"], "held")
        with naming(TransportError, "no further session", "nothing was run", "MaxSessions"):
            ssh.run(["true"])
        assert held.alive()
        held.release()
        assert ssh.run(["true"]).ok
        ssh.close()
