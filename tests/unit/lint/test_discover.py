"""Which files are linted: nothing but regular ones, of a limited size, in the directory itself."""

import os
from pathlib import Path

import pytest

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lint import discover
from docker_lxc_gate.lint.finding import Kind
from docker_lxc_gate.machines.regular_file import LARGEST
from tests.doubles.naming import naming

CONF = b"rootfs: local:1\nunprivileged: 1\n"
PROFILE = b"profile lxc-docker {\n  file,\n}\n"


def kinds(path: Path) -> dict[str, Kind]:
    return {
        str(Path(each.path).relative_to(path)): each.kind for each in discover.under(path).sources
    }


def write(path: Path, content: bytes = b"x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_directory_is_searched_for_every_kind(tmp_path: Path) -> None:
    for name, content in {
        "etc/pve/lxc/950.conf": b"",
        "etc/pve/qemu-server/100.conf": b"lxc.x: 1\nrootfs: x\n",
        "copies/951.conf": CONF,
        "copies/952.conf": b"server = 1\n",
        "var/lib/lxc/a/config": b"lxc.uts.name = a\n",
        "git/config": b"[core]\n",
        "etc/apparmor/lxc-docker": PROFILE,
        "etc/apparmor/README": b"about\n",
        "bin/a.sh": b"#!/bin/sh\n",
        "bin/tool": b"#!/usr/bin/env bash\n",
        "docker/daemon.json": b"{}",
        "docker.service.d/override.conf": b"[Service]\n",
        "system/docker.service": b"[Service]\n",
        "package.json": b"{}",
        ".git/950.conf": CONF,
        "node_modules/a/950.conf": CONF,
    }.items():
        write(tmp_path / name, content)
    assert kinds(tmp_path) == {
        "etc/pve/lxc/950.conf": Kind.CONTAINER,
        "copies/951.conf": Kind.CONTAINER,
        "var/lib/lxc/a/config": Kind.LXC,
        "etc/apparmor/lxc-docker": Kind.PROFILE,
        "docker/daemon.json": Kind.DAEMON,
        "docker.service.d/override.conf": Kind.UNIT,
        "system/docker.service": Kind.UNIT,
    }


def test_apparmor_directory_is_known_by_its_parts(tmp_path: Path) -> None:
    base = tmp_path / "etc/apparmor.d"
    for name in (
        *("tunables/global", "abstractions/base", "lxc/lxc-default", "local/lxc-docker"),
        *("usr.bin.man", "lxc-docker", "lxc-docker.orig", ".hidden", "README", "abi/3.0"),
        *("disable/usr.bin.man", "cache/a"),
    ):
        write(base / name, PROFILE)
    assert kinds(base) == {
        "tunables/global": Kind.TUNABLES,
        "abstractions/base": Kind.INCLUDED,
        "lxc/lxc-default": Kind.INCLUDED,
        "local/lxc-docker": Kind.INCLUDED,
        "usr.bin.man": Kind.PROFILE,
        "lxc-docker": Kind.PROFILE,
    }
    assert {each.base for each in discover.under(base).sources} == {str(base)}
    (one,) = discover.under(base / "lxc-docker").sources
    assert (one.kind, one.base) == (Kind.PROFILE, str(base))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (CONF, Kind.CONTAINER),
        (b"lxc.uts.name = a\n", Kind.LXC),
        (PROFILE, Kind.PROFILE),
        (b'{"debug": true}', Kind.DAEMON),
        (b'{"log-driver": "local", "log-opts": {"max-size": "1m"}, "x": 1}', Kind.DAEMON),
        (b'{"storage-driver": "vfs" "debug": true}', Kind.DAEMON),  # no JSON
    ],
)
def test_named_file_is_known_by_its_content(tmp_path: Path, content: bytes, kind: Kind) -> None:
    (found,) = discover.under(write(tmp_path / "some.txt", content)).sources
    assert found.kind is kind
    (included,) = discover.under(write(tmp_path / "abstractions/x.d/some", PROFILE)).sources
    assert included.kind is Kind.INCLUDED  # whatever profile is in it


@pytest.mark.parametrize(
    "content",
    [
        b'{"name": "x", "version": "1.0.0", "scripts": {"debug": "node"}}',
        b'{"name": "x" "scripts": {}}',
        b"[]",
        b"{}",
    ],
)
def test_json_that_is_not_dockers_is_none_that_is_linted(tmp_path: Path, content: bytes) -> None:
    with naming(UsageError, tmp_path / "package.json", "daemon.json"):
        discover.under(write(tmp_path / "package.json", content))
    assert discover.under(write(tmp_path / "daemon.json.bak", content)).sources


def test_directory_that_is_too_deep_is_said_to_be_skipped(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*"abcdefghijkl")
    write(folder / "950.conf", CONF)
    write(folder / "m/951.conf", CONF)
    found = discover.under(tmp_path)
    assert [Path(each.path).name for each in found.sources] == ["950.conf"]
    assert [(each.id, each.path) for each in found.findings] == [("not-checked", str(folder / "m"))]
    assert "12 directories" in found.findings[0].cause


def test_links_below_a_directory_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside/951.conf", CONF)
    tree = tmp_path / "lxc"
    write(tree / "950.conf", CONF)
    (tree / "951.conf").symlink_to(outside)
    (tree / "more").symlink_to(outside.parent)
    (tree / "loop").symlink_to(tree)
    assert list(kinds(tree)) == ["950.conf"]


def test_link_that_is_named_itself_is_followed_and_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path / "nodes/pve1/lxc/950.conf", CONF)
    (tmp_path / "lxc").symlink_to(tmp_path / "nodes/pve1/lxc")
    assert list(kinds(tmp_path / "lxc")) == ["950.conf"]


def test_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "950.conf")
    write(tmp_path / "951.conf", CONF)
    assert list(kinds(tmp_path)) == ["951.conf"]
    with naming(UsageError, tmp_path / "950.conf", "regular file"):
        discover.under(tmp_path / "950.conf")


def test_large_configuration_is_a_finding_and_the_rest_is_linted(tmp_path: Path) -> None:
    write(tmp_path / "lxc/950.conf", b"#" * (LARGEST + 1))
    write(tmp_path / "lxc/951.conf", CONF)
    found = discover.under(tmp_path)
    assert [(each.id, each.cause) for each in found.findings] == [
        ("file-unreadable", "it is larger than 1 MiB")
    ]
    found.add(discover.under(tmp_path / "lxc/951.conf"))
    assert len(found.sources) == 1  # a file that is named twice is linted once
    with naming(UsageError, tmp_path / "lxc/950.conf", "1 MiB"):
        discover.under(tmp_path / "lxc/950.conf")


def test_unlintable_file_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with naming(UsageError, tmp_path, "daemon.json"):
        discover.under(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with naming(UsageError, tmp_path / "loop"):
        discover.under(tmp_path / "loop")
    write(tmp_path / "notes.txt")
    monkeypatch.setattr(discover, "MOST_FILES", 0)
    with naming(UsageError, tmp_path, "0 files"):
        discover.under(tmp_path)


def test_directory_that_cannot_be_read_is_a_finding_and_the_rest_is_linted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "lxc/950.conf", CONF)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = discover.under(tmp_path)
    assert [(each.id, each.cause) for each in found.findings] == [
        ("file-unreadable", "the directory cannot be read: Permission denied")
    ]
    assert len(found.sources) == 1
    with pytest.raises(UsageError, match="Permission denied"):
        discover.under(tmp_path / "closed")


def test_too_much_for_memory_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "MOST_BYTES", 3 * len(CONF))
    for ctid in range(950, 953):
        write(tmp_path / f"lxc/{ctid}.conf", CONF)
        write(tmp_path / f"lxc/{ctid}.txt", CONF * 9)
    assert len(discover.under(tmp_path).sources) == 3
    write(tmp_path / "lxc/953.conf", CONF)
    with pytest.raises(UsageError, match="more than 0 MiB to lint"):
        discover.under(tmp_path)
