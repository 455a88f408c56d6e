from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lab.__main__ import _ssh_argv, main
from lab.errors import MachineFailed
from lab.machine import Lab
from targets.errors import UsageError
from targets.ssh.address import SshAddress

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_status_without_a_machine(home: Path) -> None:
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 3
    assert "not running: python -m lab up" in done.output
    assert not home.exists()


@pytest.mark.parametrize("command", [["ssh"], ["ssh", "--", "true"]])
def test_commands_that_need_a_machine(command: list[str]) -> None:
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 3
    assert "python -m lab up" in done.output
    assert "Traceback" not in done.output


def test_ends_that_need_none() -> None:
    for command in ("down", "destroy"):
        assert CliRunner().invoke(main, [command]).exit_code == 0


@pytest.mark.parametrize("arguments", [["reset"], ["reset", "nosuch"], ["snapshot", "ready"],
                                       ["snapshot", "1"], ["snapshot", "a b"],
                                       ["up", "--release", "../x"], ["template", "13"],
                                       ["up", "--nosuch"]])  # fmt: skip
def test_usage_errors_exit_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2, done.output


def test_home_is_lab_home_then_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Lab.open().home == tmp_path / "home"
    monkeypatch.delenv("LAB_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert Lab.open().home == tmp_path / "cache/docker-lxc-gate"
    assert Lab.open(tmp_path / "other").home == tmp_path / "other"


def test_restore_names_what_there_is() -> None:
    with pytest.raises(UsageError, match="there are: none"):
        Lab.open().restore("ready")
    with pytest.raises(MachineFailed):
        _ = Lab.open().address


def test_ssh_trusts_only_the_pinned_key(tmp_path: Path) -> None:
    address = SshAddress("127.0.0.1", 4242, "root", tmp_path / "id", tmp_path / "known", True)
    argv = _ssh_argv(address, ["id", "-u"])
    assert argv[-3:] == ["root@127.0.0.1", "id", "-u"]
    assert f'UserKnownHostsFile="{tmp_path}/known"' in argv
    assert "StrictHostKeyChecking=yes" in argv


@pytest.mark.parametrize("command", [[], ["up"], ["status"], ["ssh"], ["reset"], ["destroy"]])
def test_h_is_help(command: list[str]) -> None:
    short, long = (CliRunner().invoke(main, [*command, each]) for each in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output)
    assert short.output.startswith("Usage:")


def test_ctrl_c_is_no_error_of_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Lab) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "down", interrupted)
    done = CliRunner().invoke(main, ["down"])
    assert done.exit_code == 130
    assert done.stderr == "lab: interrupted: python -m lab status shows the state\n"
