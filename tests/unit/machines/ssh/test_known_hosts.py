"""Whose host keys are believed: known_hosts as OpenSSH reads it, at every hop."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from docker_lxc_gate.errors import TransportError, Unreachable
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.transport import Recorded
from tests.doubles.naming import naming
from tests.doubles.programs.sshd import ME, Sshd, new_key, running


def not_known(server: Sshd) -> tuple[str, str, str]:
    """Return what a refusal of an unknown key names: the host, the key, and how to compare it."""
    compare = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    return f"[127.0.0.1]:{server.port}", server.fingerprint, compare


def test_unknown_host_key_is_never_accepted(home: Path, server: Sshd, ssh: Ssh) -> None:
    (home / ".ssh/known_hosts").unlink()
    with naming(TransportError, *not_known(server), f"{home}/.ssh/known_hosts") as raised:
        ssh.run(["true"])
    _, _, line = str(raised.value).rpartition("\n")
    assert not (home / ".ssh/known_hosts").exists()
    (home / ".ssh/known_hosts").write_text(f"{line}\n")
    assert ssh.run(["true"]).ok


#: Each stands before the line that counts.
ODD = {
    "an authority": "@cert-authority * {other}",
    "another one that is revoked": "@revoked * {other}",
    "no key": "{name} ssh-ed25519 AAAA!\n{name} ssh-new AAAA\n|1|abc|def {key}",
    "too few words": "{name}\n{name} ssh-ed25519\n@revoked {name}\n@revoked\n",
    "not UTF-8": "els\udcffwhere {other}",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_known_hosts_with_a_line_that_does_not_count(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path, odd: str
) -> None:
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    name, _, key = server.known_as.partition(" ")
    text = odd.format(other=other, key=key, name=name) + server.known_as
    (home / ".ssh/known_hosts").write_bytes(text.encode(errors="surrogateescape"))
    assert ssh.run(["true"]).ok


@pytest.mark.parametrize(
    ("known", "revoked"),
    [
        ("{name} {key}@revoked * {key}", True),
        ("{name} {other}@revoked * {key}", True),
        ("@revoked * {other}", False),
        ("@cert-authority * {key}", False),
    ],
)
def test_host_key_that_is_revoked_or_known_by_a_marked_line_alone_is_refused(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path, known: str, *, revoked: bool
) -> None:
    """A revoked one is not "changed": nobody is told how to get rid of what warns."""
    name, _, key = server.known_as.partition(" ")
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    (home / ".ssh/known_hosts").write_text(known.format(name=name, key=key, other=other))
    named = ("is revoked", f"{home}/.ssh/known_hosts", server.fingerprint)
    with naming(TransportError, *named if revoked else not_known(server)) as raised:
        ssh.run(["true"])
    assert ("ssh-keygen" in str(raised.value)) is not revoked


def test_server_shows_the_host_key_that_is_known(home: Path, tmp_path: Path) -> None:
    """As OpenSSH has it: of a server with several, the known one counts."""
    rsa = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", rsa], check=True)
    with running(tmp_path / "two", home / ".ssh/id_ed25519.pub", f"HostKey {rsa}\n") as server:
        line = f"[127.0.0.1]:{server.port} {rsa.with_suffix('.pub').read_text()}"
        (home / ".ssh/known_hosts").write_text(line)
        ssh = Ssh(SshAddress("127.0.0.1", server.port, ME))
        layer = Recorded(ssh, lambda _: None)
        assert layer.host_key == ""
        assert layer.run(["true"]).ok
        assert layer.host_key.startswith("ssh-rsa ")
        ssh.close()


def test_known_hosts_that_ssh_keygen_fails_on_let_nobody_in(
    home: Path, ssh: Ssh, stub: Callable[[str, str], Path]
) -> None:
    """A line that revokes could be among those that were not read."""
    stub("ssh-keygen", '/usr/bin/ssh-keygen "$@"\necho no memory >&2\nexit 255')
    with naming(TransportError, "ssh-keygen", f"{home}/.ssh/known_hosts", "no memory"):
        ssh.run(["true"])


def test_changed_host_key_is_an_alarm(home: Path, server: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    cure = f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f {home}/.ssh/known_hosts"
    with naming(TransportError, f"{ME}@127.0.0.1:{server.port} has CHANGED", cure):
        ssh.run(["true"])
    (home / ".ssh/known_hosts").rename(tmp_path / "global")
    (home / ".ssh/config").write_text(f"Host *\n GlobalKnownHostsFile {tmp_path}/global\n")
    with naming(TransportError, f"-f {tmp_path}/global"):
        ssh.run(["true"])


def test_jump_host_and_target_are_both_verified(home: Path, server: Sshd, tmp_path: Path) -> None:
    """Whatever the user's configuration says of unknown keys, and in ssh's words the first one."""
    (home / ".ssh/config").write_text("StrictHostKeyChecking no\n")
    known = home / ".ssh/known_hosts"
    with running(tmp_path / "jump", home / ".ssh/id_ed25519.pub") as jump:
        ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, jump=f"{ME}@127.0.0.1:{jump.port}"))
        with naming(
            Unreachable,
            f"through the jump host {ME}@127.0.0.1:{jump.port}",
            f"No ED25519 host key is known for [127.0.0.1]:{jump.port}",
            "Host key verification failed.",
        ):
            ssh.run(["true"])
        assert not server.sessions()
        known.write_text(jump.known_as)
        with naming(TransportError, *not_known(server)):
            ssh.run(["true"])
        assert known.read_text() == jump.known_as
