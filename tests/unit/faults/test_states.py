"""A snapshot of the lab is found again as long as nothing that wrote its state was changed."""

import shutil
from pathlib import Path

import pytest

from proof.faults import states
from tests.doubles.samples import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of all packages that a state could depend on."""
    for name in ("docker_lxc_gate", "remediation"):
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ("remediation/actions/container_options.py", False),
        ("remediation/actions/new.py", False),
        ("remediation/content/lxc-phoenix-v2", False),
        ("remediation/engine/journal_format.py", False),
        ("remediation/provision.py", False),
        ("docker_lxc_gate/formats/archive.py", False),
        ("docker_lxc_gate/machines/files.py", False),
        ("docker_lxc_gate/machines/runtime/base.py", False),
        ("docker_lxc_gate/machines/transport.py", False),
        ("docker_lxc_gate/commandline/output.py", True),
        ("docker_lxc_gate/facts/machine_state.py", True),
        ("remediation/__main__.py", True),
        ("remediation/cli/printing.py", True),
        ("docker_lxc_gate/machines/ssh/connection.py", True),
        ("docker_lxc_gate/machines/runtime/__pycache__/base.cpython-311.pyc", True),
    ],
)
def test_written_by_changes_with_a_writer_alone(checkout: Path, file: str, same: bool) -> None:
    before = states.written_by(checkout)
    (checkout / file).parent.mkdir(exist_ok=True)
    with (checkout / file).open("a") as changed:
        changed.write("# another line\n")
    assert (states.written_by(checkout) == before) is same


@pytest.mark.parametrize("place", ["docker_lxc_gate/formats", "remediation/cli"])
def test_written_by_a_checkout_with_a_moved_place_names_it(checkout: Path, place: str) -> None:
    (checkout / place).rename(checkout / "moved")
    with pytest.raises(FileNotFoundError) as moved:
        states.written_by(checkout)
    assert str(checkout / place) in str(moved.value)
