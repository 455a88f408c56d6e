from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lab.machine import Lab
from lab.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Touched(Exception):
    """The lab was asked for its images."""


def refuse(*_: object) -> None:
    raise Touched


def test_up_with_a_keep_file_leaves_a_running_machine_alone_and_shows_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    @contextmanager
    def steps(what: str) -> Iterator[None]:
        shown.append(what)
        yield

    monkeypatch.setattr(Lab, "images", refuse)
    monkeypatch.setattr(Node, "running", True)
    lab = Lab(tmp_path, steps)
    with pytest.raises(Touched):
        lab.up()
    assert shown == []
    (tmp_path / "keep").write_text("shared with older checkouts\n")
    assert lab.up() is lab
    assert "shared with older checkouts" in shown[0]


def test_up_with_a_keep_file_and_no_running_machine_starts_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "images", refuse)
    (tmp_path / "keep").touch()
    with pytest.raises(Touched):
        Lab.open(tmp_path).up()
