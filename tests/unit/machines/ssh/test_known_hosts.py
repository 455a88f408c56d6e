"""Whose host keys are believed: known_hosts as OpenSSH reads it, at every hop."""

import subprocess
from pathlib import Path

import pytest

from docker_lxc_gate.errors import TransportError
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
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    said, _, line = str(raised.value).rpartition("\n")
    name = f"[127.0.0.1]:{server.port}"
    assert said == (
        f"the host key of {name} is not known: ssh-ed25519 {server.fingerprint}\n"
        "compare it on the machine's own console "
        "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); if it is the same, add this line to "
        "~/.ssh/known_hosts:"
    )
    assert not (home / ".ssh/known_hosts").exists()
    (home / ".ssh/known_hosts").write_text(f"{line}\n")
    assert ssh.run(["true"]).ok


def test_host_key_of_a_machine_is_what_it_showed(home: Path, server: Sshd, ssh: Ssh) -> None:
    layer = Recorded(ssh, lambda _: None)
    assert layer.host_key == ""
    layer.run(["true"])
    assert layer.host_key == f"ssh-ed25519 {server.fingerprint}"


def openssh(home: Path, server: Sshd) -> bool:
    """Whether OpenSSH's own client connects."""
    client = ["ssh", "-F", "none", "-i", home / ".ssh/id_ed25519", "-o", "BatchMode=yes"]
    client += ["-o", f"UserKnownHostsFile={home}/.ssh/known_hosts", "-p", str(server.port)]
    argv = [*client, f"{ME}@127.0.0.1", "true"]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


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
    assert openssh(home, server)


@pytest.mark.parametrize("order", [1, -1], ids=["revoked after", "revoked before"])
def test_revoked_host_key_is_refused(home: Path, server: Sshd, ssh: Ssh, order: int) -> None:
    lines = [server.known_as, f"@revoked * {server.known_as.partition(' ')[2]}"][::order]
    (home / ".ssh/known_hosts").write_text("".join(lines))
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    assert str(raised.value) == (
        f"the host key of [127.0.0.1]:{server.port} is revoked (~/.ssh/known_hosts, line "
        f"{lines.index(lines[1] if order == 1 else lines[0]) + 1}): "
        f"ssh-ed25519 {server.fingerprint}"
    )


def test_host_key_that_is_revoked_beside_another_one_is_refused(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path
) -> None:
    """It is not "changed": nobody is told how to get rid of what warns."""
    argv = ["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(tmp_path / "other")]
    subprocess.run(argv, check=True)
    known = f"[127.0.0.1]:{server.port} {(tmp_path / 'other.pub').read_text()}"
    revoked = f"@revoked * {server.known_as.partition(' ')[2]}"
    (home / ".ssh/known_hosts").write_text(known + revoked)
    with naming(TransportError, "~/.ssh/known_hosts, line 2"):
        ssh.run(["true"])


def test_known_hosts_that_cannot_be_read_know_nobody(home: Path, server: Sshd, ssh: Ssh) -> None:
    (home / ".ssh/known_hosts").unlink()
    (home / ".ssh/known_hosts").mkdir()
    with naming(TransportError, *not_known(server)):
        ssh.run(["true"])


@pytest.mark.parametrize("order", [1, -1], ids=["stale after", "stale before"])
def test_known_hosts_with_two_keys_for_a_name_takes_either(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path, order: int
) -> None:
    """As OpenSSH does, wherever the stale one stands."""
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    lines = [server.known_as, f"[127.0.0.1]:{server.port} {other}"][::order]
    (home / ".ssh/known_hosts").write_text("".join(lines))
    assert ssh.run(["true"]).ok
    assert openssh(home, server)


@pytest.mark.parametrize(
    ("names", "taken"),
    [("!{0},{0}", False), ("{0},!{0}", False), ("!elsewhere,{0}", True), ("{0},!*", False)],
)
def test_known_hosts_with_a_negated_name_is_read_as_openssh_does(
    home: Path, server: Sshd, ssh: Ssh, names: str, taken: bool
) -> None:
    name, _, key = server.known_as.partition(" ")
    (home / ".ssh/known_hosts").write_text(f"{names.format(name)} {key}")
    assert openssh(home, server) is taken
    if taken:
        assert ssh.run(["true"]).ok
    else:
        with naming(TransportError, *not_known(server)):
            ssh.run(["true"])


def test_host_key_known_to_the_machine_is_accepted(
    home: Path, server: Sshd, ssh: Ssh, tmp_path: Path
) -> None:
    (home / ".ssh/known_hosts").rename(tmp_path / "global")
    (home / ".ssh/config").write_text(f"Host *\n GlobalKnownHostsFile {tmp_path}/global\n")
    assert ssh.run(["true"]).ok


def test_changed_host_key_is_an_alarm(home: Path, server: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    with pytest.raises(TransportError) as raised:
        ssh.run(["true"])
    assert str(raised.value) == (
        f"the host key of {ME}@127.0.0.1:{server.port} has CHANGED: somebody may be in between, "
        "or the machine was reinstalled. If you know why: "
        f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f ~/.ssh/known_hosts"
    )
    (home / ".ssh/known_hosts").rename(tmp_path / "global")
    (home / ".ssh/config").write_text(f"Host *\n GlobalKnownHostsFile {tmp_path}/global\n")
    with naming(TransportError, f"-f {tmp_path}/global"):
        ssh.run(["true"])


def test_jump_host_and_target_are_both_verified(home: Path, server: Sshd, tmp_path: Path) -> None:
    with running(tmp_path / "jump", home / ".ssh/id_ed25519.pub") as jump:
        for known, unknown in ((server, jump), (jump, server)):
            (home / ".ssh/known_hosts").write_text(known.known_as)
            ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, jump=f"{ME}@127.0.0.1:{jump.port}"))
            with naming(TransportError, *not_known(unknown)):
                ssh.run(["true"])
            assert unknown is server or not server.sessions()
