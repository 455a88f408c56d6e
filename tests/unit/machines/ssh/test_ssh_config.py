"""The user's own ~/.ssh/config, and what counts more than it."""

import os
import pwd
from pathlib import Path

import pytest

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.ssh.ssh_config import Route, route
from tests.doubles.naming import naming
from tests.doubles.programs.sshd import ME, Sshd


def configured(home: Path, text: str, address: SshAddress) -> Route:
    (home / ".ssh/config").write_text(text)
    return route(address)


def place(way: Route) -> str:
    return f"{way.user}@{way.host}:{way.port}"


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
    """The user is root, not the one who types; the keys are those below $HOME."""
    way, key = route(SshAddress("PVE1")), f"{home}/.ssh/id_ed25519"
    assert (place(way), way.identities, way.own_keys) == ("root@pve1:22", (key,), True)
    assert way.known_hosts == (
        *(f"{home}/.ssh/known_hosts", f"{home}/.ssh/known_hosts2"),
        *("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"),
    )


TOKENS = "%%-%h-%i-%L-%l-%n-%p-%r-%u-${LANGUAGE}"


def test_tokens_of_a_keys_file_are_those_of_openssh(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the names of known_hosts files it fills them in itself."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("LANGUAGE", "de:en")
    text = f"HostName %h.example\nUserKnownHostsFile {TOKENS}\nIdentityFile {TOKENS}\n"
    (home / ".ssh/id_ed25519").unlink()
    way = configured(home, f"Host pve1\n {text}", SshAddress("pve1", 33, "me"))
    assert way.identities == ()
    Path(way.known_hosts[0]).write_text("a key")
    assert route(SshAddress("pve1", 33, "me")).identities == way.known_hosts[:1]


def test_home_is_that_of_the_environment(home: Path) -> None:
    """ssh itself takes passwd's, which these tests must not read."""
    (home / ".ssh/id_ed25519").rename(home / "a b")
    text = (
        "IdentityFile %d/none\nIdentityFile ~/no\nIdentityFile ~nobody-here/x\n"
        'IdentityFile "%d/a b"\nUserKnownHostsFile /etc/mine\nGlobalKnownHostsFile none\n'
    )
    way = configured(home, text, SshAddress("pve1"))
    assert (way.identities, way.known_hosts) == ((f"{home}/a b",), ("/etc/mine",))
    assert pwd.getpwuid(os.getuid()).pw_dir != str(home)


@pytest.mark.parametrize(
    ("text", "jump", "via", "argv"),
    [
        ("ProxyJump a@10.0.0.1,b:7\n", "", "b:7", "-W [pve1]:22 -p 7 -J a@10.0.0.1 -- b"),
        ("ProxyJump [::1%lo]:7\n", "", "[::1%lo]:7", "-W [pve1]:22 -p 7 -- ::1%lo"),
        ("ProxyJump %r@gw-%h\n Port 5\n", "", "root@gw-pve1", "-W [pve1]:5 -l root -- gw-pve1"),
        ("ProxyCommand false\n", "a,b", "b", "-W [pve1]:22 -J a -- b"),
        ("ProxyJump none\nHost *\n ProxyJump a\n", "", "", ""),
        ("ProxyCommand false\n", "none", "", ""),
    ],
)
def test_jump_host_if_any_is_given_to_ssh(
    home: Path, text: str, jump: str, via: str, argv: str
) -> None:
    at = SshAddress("pve1", jump=jump, identity=Path("/x"))
    way = configured(home, f"Host pve1\n {text}", at)
    assert way.identities[0] == "/x"
    assert way.via == (f"the jump host {via}" if via else "")
    assert " ".join(way.proxy).partition(" -T ")[2] == argv
    assert bool(way.proxy) == bool(argv)


def test_proxy_command_is_run_by_the_users_shell(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/dash")
    text = "Host pve1\n HostName 10.0.0.1\n ProxyCommand nc -X '%n %%' $HOME %h %p %r\n"
    *_, shell, _, line = configured(home, text, SshAddress("pve1", 7)).proxy
    assert (shell, line) == ("/bin/dash", "exec nc -X 'pve1 %' $HOME 10.0.0.1 7 root")


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
CIRCLE = "~/.ssh/config: the ProxyJump of a leads through more than 8 hosts, or in a circle"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Host a\n Port many\n", REFUSED + "{path} line 2: Bad port 'many'."),
        ("Nope 1\n", REFUSED + "{path}: line 1: Bad configuration option: nope"),
        ("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", CIRCLE),
    ],
)
def test_route_of_a_configuration_to_nowhere_fails(home: Path, text: str, said: str) -> None:
    with pytest.raises(TransportError) as raised:
        configured(home, text, SshAddress("a"))
    assert str(raised.value) == said.format(path=f"{home}/.ssh/config")


def test_route_to_a_host_like_an_option_is_refused(home: Path) -> None:
    ran = home / "ran"
    for address in (SshAddress(f"-oProxyCommand=touch${{IFS}}{ran}"), SshAddress("a", user="-G")):
        with naming(TransportError, "ssh -G", address.host):
            route(address)
    assert not ran.exists()


def test_ssh_that_is_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's machine needs none: nothing of the user's counts there."""
    monkeypatch.setenv("PATH", str(home))
    with naming(TransportError, "not installed", "apt-get install openssh-client"):
        route(SshAddress("pve1"))
    assert place(route(SshAddress("127.0.0.1", 7, only_known=True))) == "root@127.0.0.1:7"
