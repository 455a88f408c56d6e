from __future__ import annotations

import os
import shutil
from collections import namedtuple
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lab import errors, image, progress, recipe
from lab.errors import ImageBuildFailed, MissingProgram, NoSpace
from lab.image import Images
from lab.sources import Archives

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = Archives(("http://a/debian",), ())


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setattr(image, "require_programs", lambda *_: None)
    monkeypatch.setattr(image, "require_space", lambda *_: None)
    return Images(tmp_path / "images", HERE, progress.silent)


def _finish(into: Path) -> None:
    (into / "disk.raw").write_bytes(b"whole")


def test_built_once_and_found_again(images: Images) -> None:
    built = images._built("node-x-1", _finish)
    assert (built / "disk.raw").read_bytes() == b"whole"

    def never(_: Path) -> None:
        raise AssertionError

    assert images._built("node-x-1", never) == built


def test_failed_build_leaves_nothing(images: Images) -> None:
    def fail(into: Path) -> None:
        _finish(into)
        raise ImageBuildFailed("no")

    with pytest.raises(ImageBuildFailed):
        images._built("node-x-1", fail)
    assert list(images.folder.iterdir()) == []


def test_killed_build_is_not_trusted_and_removed_by_the_next(images: Images) -> None:
    left = images.folder / "node-x-1.partial-4242"
    left.mkdir(parents=True)
    _finish(left)
    built = images._built("node-x-1", _finish)
    assert list(images.folder.iterdir()) == [built]


def test_new_build_of_a_template_replaces_the_old(images: Images) -> None:
    images._built("container-trixie-1", _finish)
    other = images._built("container-bookworm-1", _finish)
    new = images._built("container-trixie-2", _finish)
    assert sorted(images.folder.iterdir()) == sorted([other, new])


def test_prune_keeps_the_machines_image(images: Images) -> None:
    images._built("node-trixie-1", _finish)
    keep = images._built("node-trixie-2", _finish)
    images.prune(keep.name)
    assert list(images.folder.iterdir()) == [keep]


def test_build_is_named_by_its_recipe(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def built(_: Images, name: str, *__: object) -> Path:
        names.append(name)
        return images.folder / name

    monkeypatch.setattr(Images, "_built", built)
    images.node("trixie")
    assert names == [f"node-default-trixie-{recipe.node_digest('trixie', HERE)}"]


def test_failing_program_shows_its_last_lines_and_the_way_out() -> None:
    script = "for i in $(seq 30); do echo line$i; done; exit 7"
    with pytest.raises(ImageBuildFailed) as caught:
        image._run(["sh", "-c", script], "try --mirror")
    said = str(caught.value)
    assert "ended with 7" in said
    assert "line30" in said
    assert "line5\n" not in said
    assert said.endswith("try --mirror")


def test_missing_programs_name_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MissingProgram, match="apt-get install e2fsprogs qemu-utils"):
        errors.require_programs("qemu-img", "mke2fs")


def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1 << 30))
    with pytest.raises(NoSpace, match=r"1\.0 GiB free.*\n.*LAB_HOME"):
        image.require_space(tmp_path)


def test_partial_folder_is_renamed_only_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "node-x-1"

    @contextmanager
    def building() -> Iterator[Path]:
        with image._renamed_when_whole(final) as partial:
            yield partial

    with building() as partial:
        assert partial.name == f"node-x-1.partial-{os.getpid()}"
        assert not final.exists()
    assert final.is_dir()
    assert not partial.exists()
