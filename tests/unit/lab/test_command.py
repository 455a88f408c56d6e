import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.lab.errors import MachineFailed
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import Node
from docker_lxc_gate.machines.ssh.address import SshAddress


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("command", "code"),
    [(["status"], 3), (["ssh"], 3), (["ssh", "--", "true"], 3), (["down"], 0), (["destroy"], 0)],
)
def test_lab_without_a_machine_ends_with(home: Path, command: list[str], code: int) -> None:
    done = CliRunner().invoke(main, ["lab", *command])
    assert done.exit_code == code
    assert ("docker-lxc-gate lab up" in done.output) is bool(code)
    assert not home.exists()


@pytest.mark.parametrize("arguments", [["reset"], ["reset", "nosuch"], ["snapshot", "ready"],
                                       ["snapshot", "1"], ["snapshot", "a b"],
                                       ["up", "--release", "../x"], ["template", "13"],
                                       ["up", "--nosuch"]])  # fmt: skip
def test_lab_with_wrong_arguments_ends_with_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["lab", *arguments])
    assert done.exit_code == 2, done.output


def test_lab_error_has_neither_a_secret_nor_a_control(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MachineFailed("http://u:hunter2@p \x1b[2J\nlab: all is well")

    monkeypatch.setattr(Lab, "down", fails)
    done = CliRunner().invoke(main, ["lab", "down"])
    assert done.exit_code == MachineFailed.exit_code
    assert done.stderr.startswith("error: http://u:***@p \n  lab: all")


def test_open_takes_lab_home_then_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Lab.open().home == tmp_path / "home"
    monkeypatch.delenv("LAB_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert Lab.open().home == tmp_path / "cache/docker-lxc-gate"
    assert Lab.open(tmp_path / "other").home == tmp_path / "other"


def test_ssh_trusts_the_pinned_key_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = SshAddress("127.0.0.1", 4242, "root", tmp_path / "id", tmp_path / "known", True)
    became: list[list[str]] = []
    monkeypatch.setattr(Node, "address", address)
    monkeypatch.setattr(os, "execvp", lambda _, argv: became.append(argv))
    assert CliRunner().invoke(main, ["lab", "ssh", "--", "id", "-u"]).exit_code == 0
    (argv,) = became
    assert argv[-3:] == ["root@127.0.0.1", "id", "-u"]
    assert f'UserKnownHostsFile="{tmp_path}/known"' in argv
    assert "StrictHostKeyChecking=yes" in argv
