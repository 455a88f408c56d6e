"""Fixing is exact, keeps what was there, and overwrites nothing that changed since."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.fixes import certain, edited, write
from docker_lxc_gate.lint.source import Kind, Source
from tests.doubles.examples import examples
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from docker_lxc_gate.lint.finding import Edit

_lines = st.sampled_from(
    [
        *("arch : x", " swap: 1", "swap: 1", "memory = 1", " # c", "lxc.aa_profile: lxc-a"),
        *("lxc.mount.entry: a", "b", "none", "bind", "0", "lxc.tty.max = 1", "lxc.tty.max: 1"),
        *("[before]", "[2024]", "rubbish", "", "\udcff", "lxc.mount.entry = a"),
    ]
)


@examples(100)
@given(st.lists(_lines, max_size=12).map("\n".join))
def test_fixed_file_has_no_certain_fix_left_and_keeps_all_other_lines(text: str) -> None:
    def found(content: bytes) -> list[Edit]:
        return certain(check([Source("/a", content, Kind.CONTAINER)])).get("/a", [])

    before = text.encode(errors="surrogateescape")
    content = before
    for _ in range(4):  # a line that is fixed can make another one certain
        content = edited(content, found(content))
    assert found(content) == []
    kept = {line for line in before.split(b"\n") if line in {b"[2024]", b"[before]"}}
    assert kept <= set(content.split(b"\n"))


def test_write_keeps_a_copy_and_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "950.conf"
    path.write_bytes(b"a")
    path.chmod(0o640)
    assert write(str(path), b"a", b"b", executable=False) == f"{path}.bak"
    assert write(str(path), b"b", b"c", executable=False) == f"{path}.bak2"
    assert [each.read_bytes() for each in sorted(tmp_path.iterdir())] == [b"c", b"a", b"b"]
    assert [each.stat().st_mode & 0o777 for each in tmp_path.iterdir()] == [0o640] * 3


def test_write_follows_a_link_that_was_named(tmp_path: Path) -> None:
    path = tmp_path / "950.conf"
    path.write_bytes(b"a")
    (tmp_path / "link").symlink_to(path)
    write(str(tmp_path / "link"), b"a", b"b", executable=False)
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == b"b"


def test_write_makes_executable_for_those_who_may_read(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_bytes(b"a")
    path.chmod(0o640)
    assert write(str(path), b"a", b"a", executable=True) == ""
    assert path.stat().st_mode & 0o777 == 0o750
    assert [each.name for each in tmp_path.iterdir()] == ["a.sh"]


def test_write_refuses_what_was_changed_since(tmp_path: Path) -> None:
    path = tmp_path / "950.conf"
    path.write_bytes(b"new")
    with naming(FactError, path, "changed"):
        write(str(path), b"a", b"b", executable=False)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"new"]
    with naming(FactError, tmp_path / "absent", "No such file"):
        write(str(tmp_path / "absent"), b"a", b"b", executable=False)


def test_lines_that_say_two_things_of_one_key_are_not_fixed() -> None:
    text = b"memory = 512\n swap: 1\nmemory : 1024\n"
    found = check([Source("/a", text, Kind.CONTAINER)])
    assert [each.line for each in found] == [1, 2, 3]
    assert edited(text, certain(found)["/a"]) == b"memory = 512\nswap: 1\nmemory : 1024\n"


def test_write_gives_owner_and_mode_to_its_own_file_whatever_is_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "950.conf"
    victim.write_bytes(b"v")
    victim.chmod(0o600)
    path.write_bytes(b"a")
    path.chmod(0o666)
    fsync = os.fsync

    def swapped(opened: int) -> None:
        fsync(opened)
        for name in ("950.conf.bak", "950.conf.lint-new"):
            if (tmp_path / name).is_file():
                (tmp_path / name).unlink()
                (tmp_path / name).symlink_to(victim)

    monkeypatch.setattr(os, "fsync", swapped)
    write(str(path), b"a", b"b", executable=False)
    assert victim.stat().st_mode & 0o777 == 0o600
    assert victim.read_bytes() == b"v"
