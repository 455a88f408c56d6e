"""``docker-lxc-gate lint``: exit codes, formats, and --fix on the command line."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from docker_lxc_gate.cli import printing
from docker_lxc_gate.cli.group import main

command: Any = importlib.import_module("docker_lxc_gate.cli.lint")
GOOD = "arch: amd64\nostype: debian\nrootfs: local:1\nunprivileged: 1\n"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["lint", *words], catch_exceptions=False)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "lxc/950.conf"
    path.parent.mkdir()
    path.write_text(GOOD)
    return path


def test_healthy_file_ends_with_0(conf: Path) -> None:
    done = run(str(conf.parent))
    assert done.exit_code == 0
    assert done.stdout == "no finding in 1 file: 1 Proxmox container configuration\n"


def test_needed_adds_advice_to_each_line_that_docker_does_not_need(conf: Path) -> None:
    conf.write_text(f"{GOOD}features: nesting=1,keyctl=1\nlxc.cgroup2.devices.allow: a\n")
    assert "keyctl" not in run(str(conf)).stdout
    done = run(str(conf), "--needed")
    assert done.exit_code == 0
    advice = [line for line in done.stdout.splitlines() if ": advice:" in line]
    named = ("container-line-unneeded", "container-devices-all", "container-line-unneeded")
    assert [line.rpartition("[")[2] for line in advice] == [f"{name}]" for name in named]


@pytest.mark.parametrize(
    ("form", "encoding"),
    [("text", "ascii"), ("json", "latin-1"), ("sarif", "utf-8")],
)
def test_names_and_texts_that_are_no_utf8_are_linted_and_printed_in_any_encoding(
    tmp_path: Path, form: str, encoding: str
) -> None:
    folder = tmp_path / os.fsdecode(b"d\xff \xc3\xa9")
    (folder / "lxc").mkdir(parents=True)
    (folder / "lxc/950.conf").write_bytes(GOOD.encode() + b"lxc.mount.entry: \xff\xe9\n")
    (folder / os.fsdecode(b"lxc-\xe9")).write_bytes(b"profile lxc-\xe9 {\n  netwurk \xff,\n}\n")
    argv = [sys.executable, "-m", "docker_lxc_gate", "lint", "--format", form, str(folder)]
    env = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(argv, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    said = done.stdout.decode(encoding)
    for rule in ("container-mount-entry-cut", "profile-parse-error"):
        assert rule in said
    assert ("/lxc-%E9" if form == "sarif" else r"/lxc-\xe9") in said.replace("\\\\", "\\")


def test_path_that_does_not_exist_leaves_others_and_ends_with_2(conf: Path, tmp_path: Path) -> None:
    conf.write_text(GOOD + "lxc.mount.entry: /dev/fuse\n")
    paths = str(tmp_path / "absent"), str(conf)
    done, read = run(*paths), json.loads(run(*paths, "--json").stdout)
    assert (done.exit_code, done.stdout) == (2, run(str(conf)).stdout)
    assert done.stderr == f"error: {paths[0]} cannot be linted: No such file or directory\n"
    assert (read["files"], len(read["refused"])) == (1, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rootfs: local:1\n", "standard input: warning: 'unprivileged' is not set"),
        ('{"storage-driver": 3}', "standard input:1:2: error: 'storage-driver' has to be a string"),
        ("#!/bin/sh\nif\n", "standard input cannot be linted: it is no Proxmox container"),
        ("", "standard input cannot be linted: it is empty"),
        ("bios: ovmf\nostype: l26\nscsi0: a:1\n", "cannot be linted: it is the configuration of"),
        ("x" * (1 << 20) + "x", "- cannot be linted: it is larger than 1 MiB"),
    ],
)
def test_lint_of_standard_input_is_that_of_such_a_file(text: str, told: str) -> None:
    done = CliRunner().invoke(main, ["lint", "-"], input=text)
    assert (told in done.output, done.exit_code) == (True, 2 if "cannot" in told else 1)
    assert "standard input is none" in run("-", "--fix").stderr


def test_no_path_means_the_nodes_own_files(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_DEFAULT", (str(conf.parent), str(tmp_path / "absent")))
    assert run().exit_code == 0
    monkeypatch.setattr(command, "_DEFAULT", (str(tmp_path / "absent"),))
    done = run()
    assert done.exit_code == 2
    assert "name what to lint" in done.stderr
    assert "docker-lxc-gate lint 950.conf" in done.stderr


def test_fix_asks_and_without_a_terminal_or_a_certain_fix_changes_nothing(conf: Path) -> None:
    conf.write_text(GOOD + "lxc.mount.entry: /dev/fuse\n")
    done = run(str(conf), "--fix", "--yes")
    assert done.exit_code == 1
    assert "nothing can be fixed with certainty" in done.stderr
    conf.write_text(GOOD + "swap : 512\n")
    done = run(str(conf), "--fix")
    assert done.exit_code == 2
    assert done.stderr.index("+swap: 512") < done.stderr.index("give --yes")
    assert conf.read_text() == GOOD + "swap : 512\n"


@pytest.mark.parametrize("agreed", [True, False])
def test_fix_does_what_the_user_says(
    conf: Path, monkeypatch: pytest.MonkeyPatch, *, agreed: bool
) -> None:
    def agreed_after(question: str, _: str) -> bool:
        printing.tell(question)
        return agreed

    monkeypatch.setattr(command.consent, "agreed", agreed_after)
    conf.write_text(GOOD + "swap : 512\n")
    done = run(str(conf), "--fix")
    assert done.exit_code == (0 if agreed else 1)
    before, _, after = done.stderr.partition("fix 1 file?")
    assert "-swap : 512" in before
    assert "+swap: 512" in before
    assert ("950.conf.bak" in after) == agreed
    assert conf.read_text() == GOOD + ("swap: 512\n" if agreed else "swap : 512\n")
    assert conf.with_name("950.conf.bak").exists() == agreed


@pytest.mark.parametrize("name", ["::error title=x::well", " ::debug::well", "##[error]well"])
def test_lint_of_a_file_with_name_and_line_like_a_command_of_github_prints_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "950.conf").write_text(f"{GOOD}{name}\nfeatures: nesting=1, keyctl=1\n")
    monkeypatch.chdir(tmp_path)
    for done in (run("."), run(".", "--fix", "--yes")):
        lines = [line for line in done.output.splitlines() if "well" in line]
        assert lines
        assert not [line for line in lines if line.lstrip().startswith("::") or "##[" in line]
