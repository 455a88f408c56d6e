"""What no transcript shows: queues, files inside the container, push, the lock."""

from __future__ import annotations

import errno
import fcntl
from typing import TYPE_CHECKING

import pytest

from lab.guest.pct import files, guest
from lab.guest.pct.__main__ import main
from lab.guest.pct.config import Section
from lab.guest.pct.containers import Start

from .cases import ALL
from .scripted import ScriptedNode

if TYPE_CHECKING:
    from pathlib import Path

CONF = ALL["file after set"].stdout.replace("vm-200-disk-0.raw", "subvol-200-disk-0.subvol")


@pytest.fixture
def node(tmp_path: Path) -> ScriptedNode:
    node = ScriptedNode(str(tmp_path))
    node.conf().parent.mkdir(parents=True)
    node.conf().write_text(CONF)
    (tmp_path / "var/lib/vz/images/200/subvol-200-disk-0.subvol/etc").mkdir(parents=True)
    return node


def test_start_with_pending_changes_applies_them(node: ScriptedNode) -> None:
    node.alive.add("200")
    assert main(["pct", "set", "200", "--features", "fuse=1"], node) == 0
    assert main(["pct", "set", "200", "--delete", "net0"], node) == 0
    assert node.conf().read_text().endswith("[pve:pending]\ndelete: net0\nfeatures: fuse=1\n")
    node.alive.clear()
    node.expected, node.starts["200"] = {"start"}, Start(running=True, stderr="")
    assert main(["pct", "start", "200"], node) == 0
    text = node.conf().read_text()
    assert "features: fuse=1\n" in text
    assert "net0" not in text
    assert "pending" not in text


def test_set_back_to_the_value_in_effect_leaves_nothing_pending(node: ScriptedNode) -> None:
    node.alive.add("200")
    for features in ("fuse=1", "nesting=1,keyctl=1"):
        assert main(["pct", "set", "200", "--features", features], node) == 0
    assert node.conf().read_text() == CONF


def test_set_while_another_pct_holds_the_lock_fails_and_names_it(
    node: ScriptedNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(files, "LOCK_TIMEOUT", 0.0)
    path = tmp_path / "run/lock/lxc/pct-200.lock"
    path.parent.mkdir(parents=True)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["pct", "set", "200", "--memory", "64"], node) == 255
    assert capsys.readouterr().err == f"can't lock file '{path}' - got timeout\n"
    assert node.conf().read_text() == CONF


def test_push_copies_content_and_mode(node: ScriptedNode, tmp_path: Path) -> None:
    node.alive.add("200")
    node.expected = {"enter"}
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 9000)
    argv = ["pct", "push", "200", str(source), str(target), "--perms", "600"]
    assert main(argv, node) == 0
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    assert node.calls == [("enter", "200", True)]


def test_push_of_a_directory_makes_an_empty_file(node: ScriptedNode, tmp_path: Path) -> None:
    node.alive.add("200")
    node.expected = {"enter"}
    assert main(["pct", "push", "200", str(tmp_path), str(tmp_path / "target")], node) == 0
    assert (tmp_path / "target").read_bytes() == b""


def test_personalise_over_a_link_does_not_leave_the_container(tmp_path: Path) -> None:
    rootfs, outside = tmp_path / "rootfs", tmp_path / "outside"
    (rootfs / "etc").mkdir(parents=True)
    outside.write_text("the node's own\n")
    (rootfs / "etc/hostname").symlink_to(outside)
    guest.personalise(rootfs, Section({"hostname": "ct"}))
    assert outside.read_text() == "the node's own\n"
    assert (rootfs / "etc/hostname").read_text() == "ct\n"


def test_personalise_leaves_a_templates_own_dhcp_unit(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/network/eth0.network"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n")
    guest.personalise(tmp_path, Section({"hostname": "ct", "net0": "name=eth0,ip=dhcp"}))
    assert unit.read_text() == "[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n"


def test_personalise_with_a_static_address_writes_a_networkd_unit(tmp_path: Path) -> None:
    (tmp_path / "etc/systemd/network").mkdir(parents=True)
    net = "name=eth0,bridge=lxcbr0,gw=10.0.3.1,ip=10.0.3.50/24"
    guest.personalise(tmp_path, Section({"hostname": "ct", "net0": net}))
    written = (tmp_path / "etc/systemd/network/eth0.network").read_text()
    assert written.splitlines()[4:] == ["Address=10.0.3.50/24", "Gateway=10.0.3.1", "DNS=10.0.3.1"]


def test_file_that_cannot_be_written_stays_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "200.conf"
    path.write_text("before\n")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.replace_file(path, "after\n")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [
        ("200.conf", "before\n")
    ]
