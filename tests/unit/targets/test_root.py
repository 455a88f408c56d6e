"""Being root on a node: directly, through sudo, or not at all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from targets.errors import TransportError
from targets.root import as_root
from targets.transport import RUN_ID, Local
from tests.doubles.scripted import Answer, Scripted

BOUNDED = ("timeout", "-k", "5", "60", "env", f"DOCKER_LXC_GATE_RUN={RUN_ID}")
SUDO = ("sudo", "-n", "--", *BOUNDED)
ROOT: Answer = (0, b"0\n", b"")
ADVICE = (
    "allow it (visudo -f /etc/sudoers.d/docker-lxc-gate): admin ALL=(root) NOPASSWD: ALL\n"
    "or log in as root"
)


def test_root_needs_no_sudo() -> None:
    raw = Scripted({(*BOUNDED, "id", "-u"): ROOT, (*BOUNDED, "a", "b c"): (7, b"x", b"y")})
    result = as_root(raw, sudo=False).run(["a", "b c"])
    assert (result.exit_code, result.argv, result.stdout) == (7, ("a", "b c"), b"x")


def test_sudo_stands_before_the_deadline_so_that_root_is_ended_by_root() -> None:
    raw = Scripted({(*SUDO, "id", "-u"): ROOT, (*SUDO, "true"): (0, b"", b"")})
    node = as_root(raw, sudo=True)
    assert node.run(["true"]).argv == ("true",)
    node.run(["true"])
    assert raw.ran.count((*SUDO, "id", "-u")) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="this machine's node must be root's")
def test_a_deadline_ends_what_a_command_on_this_machine_started(tmp_path: Path) -> None:
    """Killing the command alone would leave its children, and wait for the pipe they hold."""
    pid = tmp_path / "pid"
    argv = ["sh", "-c", f"sleep 300 & echo $! >{pid}; wait"]
    with pytest.raises(TransportError, match="did not end within 1 s"):
        as_root(Local(), sudo=False).run(argv, timeout=1)
    deadline = time.monotonic() + 10  # it was told to end; on a busy machine that takes its time
    while _runs(int(pid.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_neither_root_nor_sudo() -> None:
    with pytest.raises(TransportError) as raised:
        as_root(Scripted({(*BOUNDED, "id", "-u"): (0, b"1000\n", b"")}), sudo=False)
    assert str(raised.value) == (
        "on scripted: we are not root but uid 1000: "
        "log in as root, or set sudo = true in a target file"
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "sudo: a password is required"),
        (1, "sudo: Ein Passwort ist notwendig"),
        (1, "admin is not in the sudoers file."),
    ],
)
def test_sudo_that_does_not_make_us_root(code: int, said: str) -> None:
    refused: Answer = (code, b"", f"{said}\n".encode())
    raw = Scripted({(*SUDO, "id", "-u"): refused, ("id", "-un"): (0, b"admin\n", b"")})
    with pytest.raises(TransportError) as raised:
        as_root(raw, sudo=True)
    assert str(raised.value) == f"on scripted: sudo does not make admin root: {said}\n{ADVICE}"


def test_a_node_without_sudo() -> None:
    said = "bash: line 1: sudo: command not found"
    refused: Answer = (127, b"", f"{said}\n".encode())
    raw = Scripted({(*SUDO, "id", "-u"): refused, ("id", "-un"): (0, b"root\n", b"")})
    with pytest.raises(TransportError) as raised:
        as_root(raw, sudo=True)
    assert str(raised.value) == (
        f"on scripted: nothing runs by sudo there: {said}\n"
        "log in as root, and leave sudo out of the target file"
    )


def test_a_policy_that_allows_only_some_commands() -> None:
    raw = Scripted(
        {
            (*SUDO, "id", "-u"): ROOT,
            (*SUDO, "pct", "list"): (1, b"", b"sudo: a password is required\n"),
            (*SUDO, "false"): (1, b"", b"sudo: unable to resolve host pve1\n"),
            ("id", "-un"): (0, b"admin\n", b""),
        }
    )
    node = as_root(raw, sudo=True)
    assert node.run(["false"]).exit_code == 1
    with pytest.raises(TransportError, match="sudo does not make admin root"):
        node.run(["pct", "list"])
