"""A snapshot of the lab is found again as long as nothing that wrote its state was changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults import states

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of all packages that a state could depend on."""
    for name in ("commandline", "facts", "remediation", "targets"):
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    return tmp_path


WRITERS = (
    "remediation/actions/container_options.py",
    "remediation/actions/new.py",
    "remediation/content/lxc-phoenix-v2",
    "remediation/docker_in_lxc.py",
    "remediation/edits/json_files.py",
    "remediation/engine/journal_format.py",
    "remediation/provision.py",
    "targets/archive.py",
    "targets/files.py",
    "targets/runtime/base.py",
    "targets/transport.py",
)


@pytest.mark.parametrize("file", WRITERS)
def test_written_by_another_writer_is_another_state(checkout: Path, file: str) -> None:
    before = states.written_by(checkout)
    with (checkout / file).open("a") as changed:
        changed.write("# another line\n")
    assert states.written_by(checkout) != before


@pytest.mark.parametrize(
    "file",
    [
        "commandline/output.py",
        "facts/__init__.py",
        "facts/backups.py",
        "facts/machine_state.py",
        "remediation/__main__.py",
        "remediation/cli/printing.py",
        "targets/__init__.py",
        "targets/ssh/connection.py",
        "targets/runtime/__pycache__/base.cpython-311.pyc",
    ],
)
def test_written_by_another_fact_or_word_is_the_same_state(checkout: Path, file: str) -> None:
    before = states.written_by(checkout)
    (checkout / file).parent.mkdir(exist_ok=True)
    with (checkout / file).open("a") as changed:
        changed.write("# another line\n")
    assert states.written_by(checkout) == before


@pytest.mark.parametrize(
    "place",
    [
        *("remediation", "targets/runtime", "targets/archive.py", "targets/files.py"),
        *("targets/transport.py", "remediation/__main__.py", "remediation/cli"),
    ],
)
def test_written_by_a_checkout_where_a_place_has_moved_fails_and_names_it(
    checkout: Path, place: str
) -> None:
    (checkout / place).rename(checkout / "moved")
    with pytest.raises(FileNotFoundError) as moved:
        states.written_by(checkout)
    assert str(checkout / place) in str(moved.value)


def test_snapshot_name_holds_the_state() -> None:
    assert states.snapshot("healthy") == f"healthy-{states.written_by(ROOT)}"
