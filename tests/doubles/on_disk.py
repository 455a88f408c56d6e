"""Folders on a disk, for tests of what needs one: apply carries no images over in memory.

A module takes both: ``from tests.doubles.on_disk import disk, tmp_path``, with ``__all__``.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_DISK = "/var/tmp"  # noqa: S108 - a folder with a name of its own is made in it


@pytest.fixture(autouse=True, scope="module")
def disk() -> Iterator[None]:
    """Makes tempfile's folders there."""
    before, tempfile.tempdir = tempfile.tempdir, _DISK
    yield
    tempfile.tempdir = before


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Takes the place of pytest's own."""
    with tempfile.TemporaryDirectory(dir=_DISK) as folder:
        yield Path(folder)
