"""The user's own ~/.ssh/config, and what counts more than it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from targets.errors import TransportError
from targets.ssh.address import SshAddress
from targets.ssh.connection import Ssh
from tests.doubles.sshd import ME

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.sshd import Sshd


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


def test_an_identity_of_the_configuration_that_is_not_there(home: Path, server: Sshd) -> None:
    """As ssh does, it goes on with the others."""
    (home / ".ssh/config").write_text("Host *\n IdentityFile ~/.ssh/nope\n")
    ssh = Ssh(SshAddress("127.0.0.1", server.port, ME))
    assert ssh.run(["true"]).ok
    ssh.close()


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
    with pytest.raises(TransportError, match=r"no SSH key found to offer \(none was named\)"):
        Ssh(lost).run(["true"])


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
