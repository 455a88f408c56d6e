"""Being root on a node: directly, through sudo, or not at all."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from docker_lxc_gate.errors import LimitExceeded, TransportError
from docker_lxc_gate.machines.root import as_root
from docker_lxc_gate.machines.shell import LASTS
from docker_lxc_gate.machines.transport import RUN_ID, Local
from tests.doubles.naming import naming
from tests.doubles.programs.processes import gone
from tests.doubles.scripted import Answer, Scripted

_MARK = ("env", f"DOCKER_LXC_GATE_RUN={RUN_ID}", "LC_ALL=C.UTF-8")
BOUNDED = ("timeout", "-k", "5", "60", *_MARK)
SUDO = ("sudo", "-n", "--", *BOUNDED)
#: What stands before a look, and leads to the shell that stays open.
SHELL = (*_MARK, "timeout", "-k", "5", f"{LASTS:g}")
SUDO_SHELL = ("sudo", "-n", "--", *SHELL)
ROOT: Answer = (0, b"0\n", b"")


def test_as_root_logged_in_as_root_runs_without_sudo() -> None:
    raw = Scripted({(*SHELL, "id", "-u"): ROOT, (*BOUNDED, "a", "b c"): (7, b"x", b"y")})
    result = as_root(raw, sudo=False).run(["a", "b c"])
    assert (result.exit_code, result.argv, result.stdout) == (7, ("a", "b c"), b"x")


def test_as_root_with_sudo_puts_it_before_the_deadline_and_asks_once() -> None:
    raw = Scripted({(*SUDO_SHELL, "id", "-u"): ROOT, (*SUDO, "true"): (0, b"", b"")})
    node = as_root(raw, sudo=True)
    assert node.run(["true"]).argv == ("true",)
    node.run(["true"])
    assert raw.ran.count([*SUDO_SHELL, "id", "-u"]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="this machine's node must be root's")
def test_as_root_deadline_ends_the_children_of_a_command(tmp_path: Path) -> None:
    """Killing the command alone would leave its children, and wait for the pipe they hold."""
    pid = tmp_path / "pid"
    argv = ["sh", "-c", f"sleep 300 & echo $! >{pid}; wait"]
    with closing(Local()) as here, pytest.raises(LimitExceeded):
        as_root(here, sudo=False).run(argv, timeout=1)
    assert gone(int(pid.read_text()))


def test_as_root_another_user_without_sudo_is_refused() -> None:
    with naming(TransportError, "scripted", "uid 1000", "sudo = true"):
        as_root(Scripted({(*SHELL, "id", "-u"): (0, b"1000\n", b"")}), sudo=False)


@pytest.mark.parametrize(
    ("code", "said", "advice"),
    [
        (1, "sudo: a password is required", "NOPASSWD"),
        (1, "sudo: Ein Passwort ist notwendig", "NOPASSWD"),
        (1, "admin is not in the sudoers file.", "NOPASSWD"),
        (127, "bash: line 1: sudo: command not found", "log in as root"),
    ],
)
def test_as_root_with_a_broken_sudo_names_the_way_out(code: int, said: str, advice: str) -> None:
    refused: Answer = (code, b"", f"{said}\n".encode())
    raw = Scripted({(*SUDO_SHELL, "id", "-u"): refused, ("id", "-un"): (0, b"admin\n", b"")})
    with naming(TransportError, "scripted", said, advice):
        as_root(raw, sudo=True)


def test_as_root_sudo_that_refuses_one_command_is_told_from_its_failure() -> None:
    raw = Scripted(
        {
            (*SUDO_SHELL, "id", "-u"): ROOT,
            (*SUDO, "pct", "list"): (1, b"", b"sudo: a password is required\n"),
            (*SUDO, "false"): (1, b"", b"sudo: unable to resolve host pve1\n"),
            ("id", "-un"): (0, b"admin\n", b""),
        }
    )
    node = as_root(raw, sudo=True)
    assert node.run(["false"]).exit_code == 1
    with naming(TransportError, "admin", "a password is required"):
        node.run(["pct", "list"])
