"""SSH as it is: a real server on loopback, and what a reader is told when something is wrong."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest
from sshd import Sshd, new_key, running

from remediation.errors import TransportError
from remediation.root import as_root
from remediation.ssh import Ssh, SshAddress
from remediation.transport import RUN_ID, Inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ME = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


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
    connection = Ssh(SshAddress("127.0.0.1", server.port, ME))
    yield connection
    connection.close()


def fingerprint(server: Sshd) -> str:
    argv = ["ssh-keygen", "-lf", str(server.host_key)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[1]


def not_known(server: Sshd) -> str:
    return re.escape(f"the host key of [127.0.0.1]:{server.port} is not known")


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


def test_an_unknown_host_key_is_never_accepted(home: Path, server: Sshd, ssh: Ssh) -> None:
    (home / ".ssh/known_hosts").unlink()
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    said, _, line = str(raised.value).rpartition("\n")
    name = f"[127.0.0.1]:{server.port}"
    assert said == (
        f"the host key of {name} is not known: ssh-ed25519 {fingerprint(server)}\n"
        "compare it on the machine's own console "
        "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); if it is the same, add this line to "
        "~/.ssh/known_hosts:"
    )
    assert not (home / ".ssh/known_hosts").exists()
    (home / ".ssh/known_hosts").write_text(f"{line}\n")
    assert ssh.run(["true"]).ok


#: Each stands before the line that counts, and OpenSSH takes it or passes it over.
ODD = {
    "an authority": "@cert-authority * {other}",
    "another one that is revoked": "@revoked * {other}",
    "no base64": "elsewhere ssh-ed25519 AAAA!\n",
    "a key that is none": "elsewhere ssh-ed25519 AAAA\n",
    "a key of a kind to come": "elsewhere ssh-new AAAA\n",
    "no hash": "|1|abc|def {key}",
    "no kind of hash": "|2|abc {key}",
    "an RSA key with a negative number": "elsewhere ssh-rsa AAAAB3NzaC1yc2EAAAAB/wAAAAH/\n",
    "too few words": "elsewhere\n",
    "a marker alone": "@revoked\n",
    "a comment and an empty line": "# {other}\n",
    "not UTF-8": "els\udcffwhere {other}",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_known_hosts_as_openssh_reads_it(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path, odd: str
) -> None:
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    key = server.known_as.partition(" ")[2]
    text = odd.format(other=other, key=key) + server.known_as
    (home / ".ssh/known_hosts").write_bytes(text.encode(errors="surrogateescape"))
    assert ssh.run(["true"]).ok
    client = ["ssh", "-F", "none", "-i", home / ".ssh/id_ed25519", "-o", "BatchMode=yes"]
    client += ["-o", f"UserKnownHostsFile={home}/.ssh/known_hosts", "-p", str(server.port)]
    subprocess.run([*client, f"{ME}@127.0.0.1", "true"], check=True, capture_output=True)


@pytest.mark.parametrize("order", [1, -1], ids=["revoked after", "revoked before"])
def test_a_host_key_that_is_revoked(home: Path, server: Sshd, ssh: Ssh, order: int) -> None:
    lines = [server.known_as, f"@revoked * {server.known_as.partition(' ')[2]}"][::order]
    (home / ".ssh/known_hosts").write_text("".join(lines))
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    assert str(raised.value) == (
        f"the host key of [127.0.0.1]:{server.port} is revoked (~/.ssh/known_hosts, line "
        f"{lines.index(lines[1] if order == 1 else lines[0]) + 1}): "
        f"ssh-ed25519 {fingerprint(server)}"
    )


def test_a_revoked_key_of_a_host_that_has_another_one(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path
) -> None:
    """It is not "changed": nobody is told how to get rid of what warns."""
    argv = ["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(tmp_path / "other")]
    subprocess.run(argv, check=True)
    known = f"[127.0.0.1]:{server.port} {(tmp_path / 'other.pub').read_text()}"
    revoked = f"@revoked * {server.known_as.partition(' ')[2]}"
    (home / ".ssh/known_hosts").write_text(known + revoked)
    with pytest.raises(TransportError, match=r"is revoked \(~/.ssh/known_hosts, line 2\)"):
        ssh.run(["true"])


def test_known_hosts_that_cannot_be_read_know_nobody(home: Path, server: Sshd, ssh: Ssh) -> None:
    (home / ".ssh/known_hosts").unlink()
    (home / ".ssh/known_hosts").mkdir()
    with pytest.raises(TransportError, match=not_known(server)):
        ssh.run(["true"])


def test_of_two_keys_for_a_name_the_first_counts(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path
) -> None:
    """As with paramiko's own reader: one that is appended later replaces nothing."""
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    with (home / ".ssh/known_hosts").open("a") as known:
        known.write(f"[127.0.0.1]:{server.port} {other}")
    assert ssh.run(["true"]).ok


def test_the_machines_own_known_hosts(home: Path, server: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    (home / ".ssh/known_hosts").rename(tmp_path / "global")
    (home / ".ssh/config").write_text(f"Host *\n GlobalKnownHostsFile {tmp_path}/global\n")
    assert ssh.run(["true"]).ok


def test_a_changed_host_key_is_an_alarm(home: Path, server: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    assert str(raised.value) == (
        f"the host key of {ME}@127.0.0.1:{server.port} has CHANGED: somebody may be in between, "
        "or the machine was installed anew. If you know why: "
        f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f ~/.ssh/known_hosts"
    )
    (home / ".ssh/known_hosts").rename(tmp_path / "global")
    (home / ".ssh/config").write_text(f"Host *\n GlobalKnownHostsFile {tmp_path}/global\n")
    with pytest.raises(TransportError, match=f"-f {re.escape(str(tmp_path))}/global$"):
        ssh.run(["true"])


def test_a_refused_key_names_the_user_and_a_command_to_try(
    home: Path, server: Sshd, tmp_path: Path
) -> None:
    stranger = new_key(tmp_path / "stranger")
    (home / ".ssh/id_ed25519").unlink()
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("127.0.0.1", server.port, ME, stranger)).run(["true"])
    assert str(raised.value) == (
        f"{ME}@127.0.0.1:{server.port} lets nobody in with our keys as {ME} "
        "(passwords are not tried): Authentication failed.\n"
        f"try it by hand: ssh -o BatchMode=yes -p {server.port} {ME}@127.0.0.1 true"
    )


@pytest.mark.parametrize("stated", [True, False], ids=["by the target", "the user's own"])
def test_a_key_with_a_passphrase_is_named(
    home: Path, server: Sshd, tmp_path: Path, stated: bool
) -> None:
    key = home / ".ssh/id_ed25519"
    argv = ["ssh-keygen", "-p", "-f", str(key), "-N", "a phrase"]
    subprocess.run(argv, check=True, capture_output=True)
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("127.0.0.1", server.port, ME, key if stated else None)).run(["true"])
    name = key if stated else "~/.ssh/id_ed25519"
    said = str(raised.value)
    assert said.count("has a passphrase") == 1
    assert f"\n{name} has a passphrase, which nobody is asked for here: unless the agent " in said


def test_a_public_key_is_not_one_to_log_in_with(home: Path, server: Sshd) -> None:
    key = home / ".ssh/id_ed25519"
    key.unlink()
    with pytest.raises(TransportError, match=r"id_ed25519\.pub is no private key that can be used"):
        Ssh(SshAddress("127.0.0.1", server.port, ME, key.with_suffix(".pub"))).run(["true"])


def test_a_key_of_a_kind_that_paramiko_cannot_use(home: Path, server: Sshd) -> None:
    """A hardware key's file. Source: OpenSSH's PROTOCOL.key and PROTOCOL.u2f."""

    def packed(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    kind = b"sk-ssh-ed25519@openssh.com"
    public = packed(kind, b"\1" * 32, b"ssh:")
    private = b"\0" * 8 + public + b"\1" + packed(b"handle", b"", b"comment")
    private += bytes(range(1, 1 + -len(private) % 8))
    whole = b"openssh-key-v1\0" + packed(b"none", b"none", b"") + b"\0\0\0\1"
    text = base64.encodebytes(whole + packed(public, private)).decode()
    (home / ".ssh/id_ed25519").unlink()
    (home / ".ssh/sk").write_text(
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n"
    )
    with pytest.raises(TransportError, match=r"\.ssh/sk is no private key that can be used here"):
        Ssh(SshAddress("127.0.0.1", server.port, ME, home / ".ssh/sk")).run(["true"])


def test_an_identity_of_the_configuration_that_is_not_there(home: Path, server: Sshd) -> None:
    """As ssh does, it goes on with the others."""
    (home / ".ssh/config").write_text("Host *\n IdentityFile ~/.ssh/nope\n")
    ssh = Ssh(SshAddress("127.0.0.1", server.port, ME))
    assert ssh.run(["true"]).ok
    ssh.close()


def test_nobody_listens(home: Path) -> None:
    with pytest.raises(TransportError, match=r"cannot reach x@127\.0\.0\.1:1 by SSH: .*connect"):
        Ssh(SshAddress("127.0.0.1", 1, "x")).run(["true"])


CLOSED, RESET, SILENT, WEB = "closed", "reset", "silent", "web"
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
                if how == RESET:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if how == WEB:
                    one.recv(100)
                    one.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 200)
                if how != SILENT:
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
        (RESET, ENDED),
        (SILENT, r"it said nothing for 0\.5 s"),
        (WEB, ".*"),
    ],
)
def test_what_answers_and_is_no_ssh_server(
    home: Path, no_ssh: Callable[[str], int], how: str, why: str
) -> None:
    port = no_ssh(how)
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("127.0.0.1", port, ME), connect_timeout=0.5).run(["true"])
    assert re.fullmatch(
        rf"cannot reach {ME}@127\.0\.0\.1:{port} by SSH: it answers, but not as an SSH server "
        rf"\({why}\)\n"
        rf"try it by hand: ssh -o BatchMode=yes -p {port} {ME}@127\.0\.0\.1 true",
        str(raised.value),
    )
    assert "Errno" not in str(raised.value)


def test_a_reset_that_comes_before_connect_returns_is_an_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells it there if the other side is quick."""

    def reset(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(socket.socket, "connect", reset)
    with pytest.raises(TransportError, match=r"it answers, but .* \(Connection reset by peer\)\n"):
        Ssh(SshAddress("127.0.0.1", 1, ME)).run(["true"])


def test_a_jump_host_that_resets_is_not_what_answers(
    home: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that went is the jump host's: of what is behind it nothing is known."""

    def reset(*_: object, **__: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(paramiko.Transport, "open_channel", reset)
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("pve1", jump=f"{ME}@127.0.0.1:{server.port}")).run(["true"])
    assert str(raised.value) == (
        f"cannot reach pve1 through the jump host {ME}@127.0.0.1:{server.port} by SSH: "
        "Connection reset by peer"
    )


def test_what_paramiko_logs_is_not_told_beside_the_error(
    home: Path, no_ssh: Callable[[str], int]
) -> None:
    """In a process of its own: pytest itself has a log's handler."""
    code = (
        "from remediation.ssh import Ssh, SshAddress\n"
        f"Ssh(SshAddress('127.0.0.1', {no_ssh(CLOSED)}, 'x')).run(['true'])"
    )
    argv = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    seen = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    assert "remediation.errors.Unreachable: cannot reach" in seen.stderr
    assert "Exception (client)" not in seen.stderr


def test_a_name_that_nobody_knows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("pve1")).run(["true"])
    assert str(raised.value) == "cannot reach pve1 by SSH: Name or service not known"


def test_an_alias_of_the_users_configuration(home: Path, server: Sshd, tmp_path: Path) -> None:
    key, known = tmp_path / "elsewhere", tmp_path / "known"
    (home / ".ssh/id_ed25519").rename(key)
    (home / ".ssh/known_hosts").rename(known)
    (home / ".ssh/config").write_text(
        f"Host pve1\n HostName 127.0.0.1\n Port {server.port}\n User {ME}\n"
        f" IdentityFile {key}\n UserKnownHostsFile {known}\n"
    )
    ssh = Ssh(SshAddress("pve1"))
    assert ssh.run(["echo", "a b"]).stdout == b"a b\n"
    assert ssh.machine == "pve1"
    ssh.close()


def test_what_the_configuration_includes(home: Path, server: Sshd) -> None:
    """Relative to ~/.ssh; what follows an Include is for every host again."""
    (home / ".ssh/config.d").mkdir()
    (home / ".ssh/config.d/one").write_text("Host pve1\n HostName 127.0.0.1\n")
    (home / ".ssh/config.d/two").write_text(f"Host pve1\n User {ME}\nHost other\n")
    (home / ".ssh/config").write_text(f"Include config.d/*\nPort {server.port}\n")
    ssh = Ssh(SshAddress("pve1"))
    assert ssh.run(["true"]).ok
    ssh.close()


def test_a_key_that_only_the_agent_has(
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
        agent.wait(10)


def test_what_the_target_states_wins_over_the_configuration(home: Path, server: Sshd) -> None:
    (home / ".ssh/config").write_text(
        "Host *\n Port 1\n User nobody\n IdentityFile /nonexistent\n HostName 127.0.0.1\n"
    )
    ssh = Ssh(SshAddress("pve1", server.port, ME, home / ".ssh/id_ed25519"))
    assert ssh.run(["true"]).ok
    ssh.close()


def test_the_labs_keys_are_all_that_counts_in_the_lab(home: Path, server: Sshd) -> None:
    (home / ".ssh/config").write_text("Host *\n HostName 192.0.2.1\n ProxyJump nowhere\n")
    known = home / "pinned"
    (home / ".ssh/known_hosts").rename(known)
    key = home / ".ssh/id_ed25519"
    ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, key, known, only_known=True))
    assert ssh.run(["true"]).ok
    ssh.close()
    lost = SshAddress("127.0.0.1", server.port, ME, None, known, only_known=True)
    with pytest.raises(TransportError, match="No authentication methods"):
        Ssh(lost).run(["true"])


@pytest.mark.parametrize("stated", [True, False], ids=["by the target", "by the configuration"])
def test_through_a_jump_host(home: Path, server: Sshd, tmp_path: Path, stated: bool) -> None:
    with running(tmp_path / "jump", home / ".ssh/id_ed25519.pub") as jump:
        (home / ".ssh/known_hosts").write_text(server.known_as + jump.known_as)
        through = f"{ME}@127.0.0.1:{jump.port}"
        (home / ".ssh/config").write_text(
            f"Host pve1\n HostName 127.0.0.1\n Port {server.port}\n User {ME}\n"
            + ("" if stated else f" ProxyJump {through}\nHost pve*\n ProxyCommand false\n")
        )
        ssh = Ssh(SshAddress("pve1", jump=through if stated else ""))
        assert ssh.run(["true"]).ok
        assert len(jump.sessions()) == len(server.sessions()) == 1
        ssh.close()


def test_a_chain_of_jump_hosts(home: Path, server: Sshd, tmp_path: Path) -> None:
    authorized = home / ".ssh/id_ed25519.pub"
    with running(tmp_path / "a", authorized) as a, running(tmp_path / "b", authorized) as b:
        (home / ".ssh/known_hosts").write_text(server.known_as + a.known_as + b.known_as)
        chain = ",".join(f"{ME}@127.0.0.1:{jump.port}" for jump in (a, b))
        ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, jump=chain))
        assert ssh.run(["true"]).ok
        assert len(a.sessions()) == len(b.sessions()) == 1
        ssh.close()


def test_a_jump_hosts_key_is_verified_too(home: Path, server: Sshd, tmp_path: Path) -> None:
    with running(tmp_path / "jump", home / ".ssh/id_ed25519.pub") as jump:
        ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, jump=f"{ME}@127.0.0.1:{jump.port}"))
        with pytest.raises(TransportError, match=not_known(jump)):
            ssh.run(["true"])
        assert not server.sessions()


def test_what_is_behind_a_jump_host_is_verified_too(
    home: Path, server: Sshd, tmp_path: Path
) -> None:
    with running(tmp_path / "jump", home / ".ssh/id_ed25519.pub") as jump:
        (home / ".ssh/known_hosts").write_text(jump.known_as)
        ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, jump=f"{ME}@127.0.0.1:{jump.port}"))
        with pytest.raises(TransportError, match=not_known(server)):
            ssh.run(["true"])


def test_a_jump_host_that_is_not_there_is_named(home: Path, server: Sshd) -> None:
    ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, jump="x@127.0.0.1:1"))
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    assert str(raised.value).startswith(
        f"cannot reach the jump host x@127.0.0.1:1 to {ME}@127.0.0.1:{server.port} by SSH: "
    )


def test_jumps_in_a_circle(home: Path) -> None:
    (home / ".ssh/config").write_text("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("a")).run(["true"])
    assert str(raised.value) == "~/.ssh/config: the ProxyJump of a leads back to it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Host a\n Port many\n", "~/.ssh/config: the Port of a is 'many'"),
        ("Host\n", "~/.ssh/config cannot be read: Unparsable line Host"),
        (
            "Host a\n ProxyUseFdpass yes\n ProxyCommand nc %h %p\n ProxyJump b\n",
            (
                "~/.ssh/config: the ProxyCommand of a is not supported here; say ProxyJump "
                "there, or jump in a target file"
            ),
        ),
        ("Host a\n ProxyJump a:b:c\n", "the ProxyJump of a, 'a:b:c': expected [USER@]HOST[:PORT]"),
    ],
)
def test_a_configuration_that_cannot_be_read(home: Path, text: str, said: str) -> None:
    (home / ".ssh/config").write_text(text)
    with pytest.raises(TransportError) as raised:
        Ssh(SshAddress("a")).run(["true"])
    assert str(raised.value) == said


def test_both_streams_may_be_big(ssh: Ssh) -> None:
    """Reading one to its end stalls the other past 2 MiB."""
    big = 5 << 20
    both = f"head -c {big} /dev/zero & head -c {big} /dev/zero >&2; wait"
    result = ssh.run(["sh", "-c", both])
    assert (len(result.stdout), len(result.stderr)) == (big, big)


def test_bytes_go_in_and_come_back_as_they_are(ssh: Ssh) -> None:
    sent = bytes(range(256)) * 20_000
    result = ssh.run(["cat"], stdin=sent)
    assert hashlib.sha256(result.stdout).digest() == hashlib.sha256(sent).digest()


def test_arguments_are_not_a_shells_text(ssh: Ssh) -> None:
    odd = ["a b", "$HOME", "'", '"', "*", "\n", "", "-n"]
    result = ssh.run(["printf", "%s\\0", *odd])
    assert result.stdout == b"".join(word.encode() + b"\0" for word in odd)


def test_exit_code_and_signal(ssh: Ssh) -> None:
    assert ssh.run(["sh", "-c", "exit 7"]).exit_code == 7
    with pytest.raises(TransportError, match="ended without an exit status"):
        ssh.run(["sh", "-c", "kill -9 $PPID; kill -9 $$"])


def test_a_deadline_ends_the_command_on_the_far_side(ssh: Ssh, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    node = as_root(ssh, sudo=False)
    argv = ["sh", "-c", f"echo $$ >{pid}; exec sleep 300"]
    with pytest.raises(TransportError) as raised:
        node.run(argv, timeout=1)
    assert str(raised.value).endswith("exec sleep 300' did not end within 1 s")
    assert str(raised.value).startswith(f"on {ssh.machine}: sh -c ")
    assert not alive(int(pid.read_text()))
    assert node.run(["true"]).ok  # over the same connection


def test_a_deadline_ends_what_does_not_want_to_end(
    ssh: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = as_root(ssh, sudo=False)
    monkeypatch.setattr(Inside, "GRACE", 1.0)
    pid = tmp_path / "pid"
    with pytest.raises(TransportError, match="did not end within 1 s"):
        node.run(["sh", "-c", f"trap '' TERM; echo $$ >{pid}; sleep 300; sleep 300"], timeout=1)
    assert not alive(int(pid.read_text()))


def test_the_nodes_processes_name_the_run_and_the_evidence_does_not(ssh: Ssh) -> None:
    node = as_root(ssh, sudo=False)
    result = node.run(["sh", "-c", "tr '\\0' ' ' </proc/$PPID/cmdline"], timeout=60)
    assert result.text.startswith(f"timeout -k 5 60 env DOCKER_LXC_GATE_RUN={RUN_ID} sh -c ")
    assert result.argv[0] == "sh"


def test_a_dropped_connection_is_not_resent(server: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    log, pid = tmp_path / "log", tmp_path / "pid"
    argv = ["sh", "-c", f"echo once >>{log}; echo $$ >{pid}; exec sleep 300"]
    cut = threading.Thread(target=lambda: (wait_for(pid), server.drop()))
    cut.start()
    with pytest.raises(TransportError) as raised:
        ssh.run(argv)
    cut.join()
    assert str(raised.value).endswith(
        "exec sleep 300' ended without an exit status "
        "(killed by a signal, or the connection was cut): whether it did its work is not known"
    )
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert ssh.run(["true"]).ok  # the next command connects anew
    assert log.read_text() == "once\n"


def test_a_connection_that_drops_before_the_command_is_not_resent_either(
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
