"""The user's own ~/.ssh/config, and what counts more than it."""

import os
import pwd
from pathlib import Path

import pytest

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.ssh.ssh_config import Hop, route
from tests.doubles.naming import naming
from tests.doubles.programs.sshd import ME, Sshd


def configured(home: Path, text: str, address: SshAddress) -> list[Hop]:
    (home / ".ssh/config").write_text(text)
    return route(address)


def test_alias_of_the_users_config_is_followed(home: Path, server: Sshd, tmp_path: Path) -> None:
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


def test_host_key_is_filed_under_its_alias(home: Path, server: Sshd) -> None:
    """Without its port, as OpenSSH has it; in known_hosts no letter's case counts."""
    _, _, key = server.known_as.partition(" ")
    (home / ".ssh/known_hosts").write_text(f"PVE1.example {key}")
    (home / ".ssh/config").write_text(f"HostKeyAlias pve1.Example\nPort {server.port}\n")
    ssh = Ssh(SshAddress("127.0.0.1", user=ME))
    assert ssh.run(["true"]).ok
    ssh.close()
    (home / ".ssh/known_hosts").write_text(server.known_as)
    with naming(TransportError, "pve1.example", server.fingerprint):
        ssh.run(["true"])


def test_route_without_configuration_has_opensshs_defaults(home: Path) -> None:
    """The user is root, not the one who types; no key is named."""
    (hop,) = route(SshAddress("PVE1"))
    assert (str(hop), hop.identities, hop.own_keys) == ("root@pve1:22", (), True)
    assert hop.known_hosts == (
        *("~/.ssh/known_hosts", "~/.ssh/known_hosts2"),
        *("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"),
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("Host pve*\n HostName %h.example\n User a\n Port 7\n", "a@pve1.example:7"),
        ("Host x\n User a\nMatch host pve1\n User b\n", "b@pve1:22"),
        ('Match exec "test %h = pve1"\n User a\nMatch exec false\n User b\n', "a@pve1:22"),
        ("Match final\n User a\n", "root@pve1:22"),  # by then it has one
        ("Match final\n Port 7\n", "root@pve1:7"),
        ("Include one\nPort 7\n", "a@pve1:7"),
    ],
)
def test_openssh_reads_the_users_configuration(home: Path, text: str, where: str) -> None:
    """The user's: below $HOME, which here is not passwd's. No Host of an Include goes beyond it."""
    (home / ".ssh/one").write_text("User a\nHost other\n")
    (hop,) = configured(home, text, SshAddress("pve1"))
    assert str(hop) == where


TOKENS = "%%-%C-%h-%i-%j-%k-%L-%l-%n-%p-%r-%u-${LANGUAGE}"


@pytest.mark.parametrize("alias", ["", "HostKeyAlias other\n"])
@pytest.mark.parametrize("jump", ["", "me@[::1]:4", "a,10.0.0.1"])
def test_tokens_of_a_keys_file_are_those_of_openssh(
    home: Path, monkeypatch: pytest.MonkeyPatch, jump: str, alias: str
) -> None:
    """In the names of known_hosts files it fills them in itself."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("LANGUAGE", "de:en")
    text = f"{alias}HostName %h.example\nUserKnownHostsFile {TOKENS}\nIdentityFile {TOKENS}\n"
    last = configured(home, f"Host pve1\n {text}", SshAddress("pve1", 33, "me", jump=jump))[-1]
    assert last.identities == ()
    Path(last.known_hosts[0]).write_text("a key")
    assert route(SshAddress("pve1", 33, "me", jump=jump))[-1].identities == last.known_hosts[:1]


def test_home_is_that_of_the_environment(home: Path) -> None:
    """ssh itself takes passwd's, which these tests must not read."""
    (home / "a b").write_text("a key")
    text = (
        "IdentityFile %d/none\nIdentityFile ~/no\nIdentityFile ~nobody-here/x\n"
        'IdentityFile "%d/a b"\nIdentityFile "~/a b"\n'
        "UserKnownHostsFile ~/.ssh/mine /etc/mine\nGlobalKnownHostsFile none\n"
    )
    (hop,) = configured(home, text, SshAddress("pve1"))
    assert hop.identities == (f"{home}/a b", f"{home}/a b")
    assert hop.known_hosts == ("~/.ssh/mine", "/etc/mine")
    assert pwd.getpwuid(os.getuid()).pw_dir != str(home)


@pytest.mark.parametrize(
    ("text", "jump", "hops"),
    [
        ("Host pve1\n ProxyJump a@10.0.0.1,b:7\n", "", ["a@10.0.0.1:22", "root@b:7"]),
        ("Host pve1\n ProxyJump b\nHost b\n ProxyJump a\n", "", ["root@a:22", "root@b:22"]),
        ("Host pve1\n ProxyJump [fe80::1%eth0]:7\n", "", ["root@[fe80::1%eth0]:7"]),
        ("Host pve1\n ProxyJump a\n ProxyCommand false\n", "", ["root@a:22"]),
        ("Host pve1\n ProxyJump %r@gw-%h\n", "", ["root@gw-pve1:22"]),
        ("Host pve1\n ProxyJump none\nHost *\n ProxyJump a\n", "", []),
        ("Host pve1\n ProxyCommand none\n ProxyJump a\n", "", []),
        ("Host pve1\n ProxyCommand false\n", "a,b", ["root@a:22", "root@b:22"]),
        ("Host pve1\n ProxyCommand false\n", "none", []),
        ("Host a\n User me\n IdentityFile /dev/null\n", "a", ["me@a:22"]),
    ],
)
def test_jump_hosts(home: Path, text: str, jump: str, hops: list[str]) -> None:
    found = configured(home, text, SshAddress("pve1", jump=jump, identity=Path("/x")))
    assert [*map(str, found)] == [*hops, "root@pve1:22"]
    assert found[-1].identities == ("/x",)
    assert all("/x" not in hop.identities for hop in found[:-1])


def test_address_of_the_target_wins_over_the_configuration(home: Path, server: Sshd) -> None:
    (home / ".ssh/config").write_text(
        "Host *\n Port 1\n User nobody\n IdentityFile /nonexistent\n HostName 127.0.0.1\n"
    )
    ssh = Ssh(SshAddress("pve1", server.port, ME, home / ".ssh/id_ed25519"))
    assert ssh.run(["true"]).ok
    ssh.close()


def test_labs_keys_are_all_that_counts_in_the_lab(home: Path, server: Sshd) -> None:
    (home / ".ssh/config").write_text("Host *\n HostName 192.0.2.1\n ProxyJump nowhere\n")
    known = home / "pinned"
    (home / ".ssh/known_hosts").rename(known)
    key = home / ".ssh/id_ed25519"
    ssh = Ssh(SshAddress("127.0.0.1", server.port, ME, key, known, only_known=True))
    assert ssh.run(["true"]).ok
    ssh.close()
    lost = SshAddress("127.0.0.1", server.port, ME, None, known, only_known=True)
    with naming(TransportError, f"{ME}@127.0.0.1:{server.port}", "none was named") as raised:
        Ssh(lost).run(["true"])
    assert ".ssh" not in str(raised.value), "no key was searched for there"


REFUSED = "OpenSSH does not accept the configuration of a (ssh -G): "
OURS = "~/.ssh/config: the Proxy"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Host a\n Port many\n", REFUSED + "{path} line 2: Bad port 'many'."),
        ("Host\n", REFUSED + '{path} line 1: no argument after keyword "host"'),
        ("Host a\n ProxyJump a:b:c\n", REFUSED + '{path} line 2: Invalid ProxyJump "a:b:c"'),
        ("Nope 1\n", REFUSED + "{path}: line 1: Bad configuration option: nope"),
        ("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", OURS + "Jump of a leads back to it"),
        (
            "Host a\n ProxyUseFdpass yes\n ProxyCommand nc %h %p\n ProxyJump b\n",
            OURS
            + "Command of a is not supported here; say ProxyJump there, or jump in a target file",
        ),
    ],
)
def test_route_of_a_configuration_to_nowhere_fails(home: Path, text: str, said: str) -> None:
    with pytest.raises(TransportError) as raised:
        configured(home, text, SshAddress("a"))
    assert str(raised.value) == said.format(path=f"{home}/.ssh/config")


def test_killed_ssh_is_named_by_its_exit_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = home / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text("#!/bin/sh\nkill -9 $$\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    with naming(TransportError, REFUSED + "it ended with 137"):
        route(SshAddress("a"))


def test_route_to_a_host_like_an_option_is_refused(home: Path) -> None:
    ran = home / "ran"
    for address in (SshAddress(f"-oProxyCommand=touch${{IFS}}{ran}"), SshAddress("a", user="-G")):
        with naming(TransportError, "ssh -G", address.host):
            route(address)
    assert not ran.exists()


def test_ssh_that_is_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's machine needs none: nothing of the user's counts there."""
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(TransportError) as raised:
        route(SshAddress("pve1"))
    assert str(raised.value) == (
        "ssh is not installed on this machine; it reads ~/.ssh/config. Run: apt-get install "
        "openssh-client"
    )
    assert str(route(SshAddress("127.0.0.1", 7, only_known=True))[0]) == "root@127.0.0.1:7"
