"""The front end against the behaviours, and the files that a start and a stop write."""

import os
from pathlib import Path

import pytest

from docker_lxc_gate.lab.guest.pct.__main__ import main
from docker_lxc_gate.lab.guest.pct.containers import Start

from . import behaviours
from .behaviours import Behaviour
from .cases import ALL
from .scripted import ScriptedNode

KEYS = [
    line.replace("vm-200-disk-0.raw", "subvol-200-disk-0.subvol")
    for line in ALL["file after set"].stdout.splitlines()
    if not line.startswith("#")
]
ROOTFS = "var/lib/vz/images/200/subvol-200-disk-0.subvol"
GETTY = "usr/lib/systemd/system/container-getty@.service"


@pytest.fixture
def node(tmp_path: Path) -> ScriptedNode:
    node = ScriptedNode(str(tmp_path), expected={"kill", "shutdown", "start"})
    node.conf().parent.mkdir(parents=True)
    node.conf().write_text("\n".join(KEYS) + "\n")
    (tmp_path / ROOTFS / "etc").mkdir(parents=True)
    node.starts["200"] = Start(running=True, stderr="")
    return node


@pytest.mark.parametrize("case", behaviours.ALL, ids=lambda case: case.name)
def test_pct_on_an_edited_file_says_and_leaves_what_proxmox_does(
    case: Behaviour, node: ScriptedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    before = behaviours.file(case.before, KEYS)
    node.conf().write_text(before)
    node.alive |= {"200"} if case.running else set()
    assert main(list(case.argv), node) == case.exit
    for wanted, said in zip((case.out, case.err), capsys.readouterr(), strict=True):
        assert said == "" if wanted is None else wanted in said
    after = before if case.after is None else behaviours.normal(case.after, KEYS)
    assert node.conf().read_text() == after


def test_set_with_a_feature_that_does_not_parse_fails_after_the_write(
    node: ScriptedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.conf().write_text(behaviours.file("@without features\nfeatures: fusion=1\n", KEYS))
    assert main(["pct", "set", "200", "--onboot", "1"], node) == 255
    assert capsys.readouterr().err.startswith("format error\nfusion: ")
    assert "onboot: 1\n" in node.conf().read_text()


def test_start_writes_the_guests_files_with_new_times(node: ScriptedNode, tmp_path: Path) -> None:
    rootfs = tmp_path / ROOTFS
    for folder in ("etc/systemd/system/getty.target.wants", "etc/network"):
        (rootfs / folder).mkdir(parents=True)
    (rootfs / GETTY).parent.mkdir(parents=True)
    (rootfs / GETTY).write_text("ConditionPathExists=/dev/pts/%I\n")
    (rootfs / "lib").symlink_to("usr/lib")
    written = [
        "fastboot",
        "etc/hosts",
        "etc/hostname",
        "etc/network/interfaces",
        "etc/systemd/system-preset/00-pve.preset",
        "etc/systemd/system/getty.target.wants/container-getty@1.service",
        "etc/systemd/system/getty.target.wants/container-getty@2.service",
    ]

    def start() -> dict[str, str]:
        node.starts["200"] = Start(running=True, stderr="")
        assert main(["pct", "start", "200"], node) == 0
        assert main(["pct", "stop", "200"], node) == 0
        return {name: content(rootfs / name) for name in written}

    def content(path: Path) -> str:
        return str(path.readlink()) if path.is_symlink() else path.read_text()

    first = start()
    for name in written:
        os.utime(rootfs / name, (0, 0), follow_symlinks=False)
    assert start() == first
    assert all((rootfs / name).lstat().st_mtime > 0 for name in written)
    assert "disable systemd-networkd.service\n" in first[written[4]]
    assert first[written[5]] == "/lib/systemd/system/container-getty@.service"
    assert (rootfs / GETTY).read_text() == "ConditionPathExists=/dev/tty%I\n"


def test_set_while_the_container_runs_is_refused_and_changes_nothing(
    node: ScriptedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    before = node.conf().read_text()
    node.alive.add("200")
    assert main(["pct", "set", "200", "--features", "fuse=1"], node) == 255
    assert "a running container" in capsys.readouterr().err
    assert node.conf().read_text() == before
