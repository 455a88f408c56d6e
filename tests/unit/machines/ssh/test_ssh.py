"""SSH as it is: a real server on loopback, and what a reader is told when something is wrong."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from docker_lxc_gate.errors import Dropped, TransportError, Unreachable
from docker_lxc_gate.machines.root import as_root
from docker_lxc_gate.machines.ssh import connection
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.target import parse
from tests.doubles.naming import naming
from tests.doubles.programs.sshd import ME, Sshd, new_key, running


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(what: Path) -> str:
    end = time.monotonic() + 10
    while not (what.exists() and what.read_text().strip()):
        assert time.monotonic() < end, f"{what} did not come to be"
        time.sleep(0.01)
    return what.read_text().strip()


def test_refused_key_names_the_user_and_a_command(home: Path, server: Sshd, tmp_path: Path) -> None:
    stranger = new_key(tmp_path / "stranger")
    (home / ".ssh/id_ed25519").unlink()
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("127.0.0.1", server.port, ME, stranger)).run(["true"])
    assert str(raised.value) == (
        f"login as {ME} on {ME}@127.0.0.1:{server.port} failed: {ME}@127.0.0.1:{server.port} "
        "accepts none of the SSH keys offered. Password login is not attempted.\n"
        f"try it by hand: ssh -o BatchMode=yes -p {server.port} {ME}@127.0.0.1 true"
    )


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


CLOSED, SILENT, WEB = "closed", "silent", "web"
#: What greets, or almost, and is no server to talk to.
ENDLESS, LINES, MUTE, SLOW = "endless", "lines", "mute", "slow"


#: Which of the two comes first is the kernel's to say: our own greeting is never read.
ENDED = "(the other side closed the connection|Connection reset by peer)"


@pytest.fixture
def no_ssh() -> Iterator[Callable[[str], int]]:
    """Starts what answers, and not as an SSH server; returns its port."""
    kept: list[socket.socket] = []

    def start(how: str) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        kept.append(listener)

        def answer() -> None:
            with suppress(OSError):  # the listener's end
                kept.append(one := listener.accept()[0])
                if how == WEB:
                    one.recv(100)
                    one.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 200)
                while how in {ENDLESS, LINES}:
                    one.sendall(b"\x1b[2Jevil" * 100 + b"\n" * (how == LINES))
                while how == SLOW:
                    one.sendall(b"S")
                    time.sleep(0.2)
                if how == MUTE:
                    one.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
                if how not in {SILENT, MUTE}:
                    one.close()

        threading.Thread(target=answer, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in kept:
        each.close()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (CLOSED, ENDED),
        (WEB, 'Indecipherable protocol version "HTTP/1.1 400 Bad Request"'),
        (LINES, 'Indecipherable protocol version "evil.*'),
    ],
)
def test_server_that_does_not_speak_ssh_is_named(
    home: Path, no_ssh: Callable[[str], int], how: str, why: str
) -> None:
    port = no_ssh(how)
    with pytest.raises(Unreachable) as raised:
        Ssh(SshAddress("127.0.0.1", port, ME)).run(["true"])
    assert re.fullmatch(
        rf"cannot reach {ME}@127\.0\.0\.1:{port} by SSH: it answers, but not as an SSH server "
        rf"\({why}\)\n"
        rf"try it by hand: ssh -o BatchMode=yes -p {port} {ME}@127\.0\.0\.1 true",
        str(raised.value),
    )
    assert len(str(raised.value)) < 300
    assert "Errno" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("how", [SILENT, MUTE, ENDLESS, SLOW])
def test_server_that_never_gets_to_the_point_is_given_up_and_leaves_nothing_running(
    home: Path, no_ssh: Callable[[str], int], how: str
) -> None:
    port, before, begun = no_ssh(how), threading.active_count(), time.monotonic()
    with naming(Unreachable, f"127.0.0.1:{port}", "did not answer as an SSH server within 1 s"):
        Ssh(SshAddress("127.0.0.1", port, ME), connect_timeout=1).run(["true"])
    assert time.monotonic() - begun < 10
    end = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ssh_to_an_ipv6_address_in_brackets(home: Path, tmp_path: Path) -> None:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        key = home / ".ssh/id_ed25519.pub"
        with running(tmp_path / "six", key, "ListenAddress ::1\n") as server:
            known = server.known_as.replace("[127.0.0.1]", "[::1]")
            (home / ".ssh/known_hosts").write_text(known)
            ssh = Ssh(parse(f"{ME}@[::1]:{server.port}/950").address or SshAddress(""))
            assert ssh.machine == f"{ME}@[::1]:{server.port}"
            assert ssh.run(["true"]).ok
            ssh.close()
        return
    pytest.skip("this machine has no ::1")


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
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("127.0.0.1", server.port, ME)).run(["true"])
    assert (
        "failed: no SSH key found to offer (no agent, none in ~/.ssh). "
        "Password login is not attempted.\n"
    ) in str(raised.value)


@pytest.mark.parametrize("stated", [True, False], ids=["by the target", "the user's own"])
def test_ssh_offers_no_key_that_others_may_read(home: Path, server: Sshd, stated: bool) -> None:
    """OpenSSH does not, either: what works here must work by hand."""
    key = home / ".ssh/id_ed25519"
    key.chmod(0o644)
    ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, key if stated else None))
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    assert (
        f"\n{key} was not offered: its mode is 0644, so others may read it (OpenSSH refuses it, "
        f"too): chmod 600 {key}\n"
    ) in str(raised.value)
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
        end = time.monotonic() + 10
        while subprocess.run(["ssh-add", "-q", str(key)], check=False).returncode:
            assert time.monotonic() < end, "the agent does not answer"
            time.sleep(0.05)
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
    with pytest.raises(TransportError) as raised:
        node.run(argv, timeout=3)
    assert str(raised.value).endswith("exec sleep 300' did not end within 3 s")
    assert str(raised.value).startswith(f"on {ssh.machine}: sh -c ")
    assert not alive(int(pid.read_text()))
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
    cut = threading.Thread(target=lambda: (wait_for(pid), server.drop()))
    cut.start()
    with pytest.raises(Dropped) as raised:
        ssh.run(argv)
    cut.join()
    assert str(raised.value).endswith(
        "exec sleep 300' ended without an exit status "
        "(killed by a signal, or the connection was cut): whether it did its work is not known"
    )
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
        with pytest.raises(TransportError) as raised:
            ssh.run(["touch", str(log)])
    assert str(raised.value) == (
        f"the connection to {ssh.machine} dropped during touch {log}: "
        "the other side closed the connection; "
        "whether it ran is not known"
    )
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
