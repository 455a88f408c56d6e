"""A login shell that prints: found at connect, and no lock is held by what it prints."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docker_lxc_gate.errors import TransportError, Unreachable
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.transport import Local
from tests.doubles.naming import naming
from tests.doubles.programs.sshd import ME, running

#: As a .bashrc does: it is read, and then the command is run.
FIRST = """sh -c '{} ; eval "$SSH_ORIGINAL_COMMAND"'"""


@contextmanager
def login(home: Path, tmp_path: Path, command: str, patience: float = 300) -> Iterator[Ssh]:
    """A server whose login shell does what ``command`` says."""
    key = home / ".ssh/id_ed25519.pub"
    with running(tmp_path / "noisy", key, f"ForceCommand {command}\n") as server:
        (home / ".ssh/known_hosts").write_text(server.known_as)
        ssh = Ssh(SshAddress("127.0.0.1", server.port, ME), connect_timeout=patience)
        yield ssh
        ssh.close()


@pytest.mark.parametrize(
    "command",
    [
        FIRST.format("echo Welcome to pve1"),
        FIRST.format(r'printf "\033[1mWelcome\033[0m to pve1\n"'),
        """sh -c 'eval "$SSH_ORIGINAL_COMMAND"; echo Welcome to pve1'""",
    ],
    ids=["before", "in bold", "behind"],
)
def test_ssh_to_a_shell_that_prints_names_the_fix(home: Path, tmp_path: Path, command: str) -> None:
    with login(home, tmp_path, command) as ssh, pytest.raises(Unreachable) as raised:
        ssh.run(["id", "-u"])
    said = str(raised.value)
    assert said.startswith(f"the login shell of {ME} on {ssh.machine} prints text of its own")
    assert "case $- in *i*)" in said
    assert "\x1b" not in said
    assert "\n" not in said
    if "eval" not in command.partition(";")[0]:
        assert "'Welcome to pve1'" in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo This account is restricted", "'This account is restricted'"),
        ("sleep 60", "3 s"),
        ("yes", ""),
        ("false", "''"),
    ],
)
def test_ssh_to_a_shell_that_runs_nothing_is_refused(
    home: Path, tmp_path: Path, command: str, said: str
) -> None:
    with (
        login(home, tmp_path, command, 3 if said == "3 s" else 300) as ssh,
        naming(Unreachable, ME, said) as raised,
    ):
        ssh.run(["true"])
    assert "bashrc" not in str(raised.value), "that is of a shell which runs the command"


def test_ssh_to_a_shell_with_complaints_on_standard_error_works(home: Path, tmp_path: Path) -> None:
    """A locale that is missing there: nobody reads that for an answer."""
    with login(home, tmp_path, FIRST.format("echo setlocale: no such locale >&2")) as ssh:
        assert ssh.run(["echo", "on"]).text == "on\n"


@pytest.mark.parametrize("first", ["Welcome", "held up", "held\\nheld", " held"])
def test_hold_of_another_word_is_not_held(ssh: Ssh, tmp_path: Path, first: str) -> None:
    ended = tmp_path / "ended"
    script = f"printf '{first}\\n'; cat; echo >{ended}"
    for on in (ssh, Local()):
        with pytest.raises(TransportError) as raised:
            on.hold(["sh", "-c", script], "held")
        assert str(raised.value) == (
            f"on {on.machine}: sh, which was to say 'held' and keep running, "
            f"said {(first + chr(10)).encode().decode('unicode_escape').encode()!r}; it was ended"
        )
        assert ended.exists()  # its input has ended
        ended.unlink()


def test_hold_of_one_that_ends_says_how(ssh: Ssh) -> None:
    for on in (ssh, Local()):
        with pytest.raises(CommandFailed) as raised:
            on.hold(["sh", "-c", "echo no >&2; exit 7"], "held")
        assert (raised.value.result.exit_code, raised.value.result.stderr) == (7, b"no\n")


def test_hold_of_one_that_is_silent_is_given_up(ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docker_lxc_gate.machines.transport.HOLD_TIMEOUT", 0.5)
    for on in (ssh, Local()):
        with naming(TransportError, "cat", "held", "0.5 s"):
            on.hold(["cat"], "held")
    assert ssh.run(["true"]).ok
