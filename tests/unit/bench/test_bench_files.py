"""Commands about files are fast and need little memory, by the processor's time and not by a clock.

The commands are real: each is a process of its own, as a user starts it.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from bench import cost, files, machine
from bench.__main__ import main
from lab.errors import MissingProgram

if TYPE_CHECKING:
    from pathlib import Path

#: A bound that no other load breaks (seconds of processor time). The figure is below 2, and stands
#: in docs/performance.md.
_LINT = 10.0
#: What the peaks of a short and of a long log may differ (MiB).
_SAME = 10.0


def test_lint_of_a_thousand_configurations_takes_little_processor_time(tmp_path: Path) -> None:
    files.configure(tmp_path / "lxc", files.CONFIGURATIONS)
    assert files.lint(tmp_path / "lxc", files.CONFIGURATIONS).processor < _LINT


@pytest.mark.parametrize("one_in", [files.SPARSE, files.DENSE])
def test_denials_of_a_log_eight_times_as_long_need_the_same_memory(
    tmp_path: Path, one_in: int
) -> None:
    peaks = []
    for size in (16, 128):
        log = tmp_path / f"{size}.log"
        denied = files.write_log(log, size, one_in)
        assert size <= log.stat().st_size / (1 << 20) < size + 4
        peaks.append(files.denials(log, denied).peak)
        log.unlink()
    assert abs(peaks[1] - peaks[0]) < _SAME, peaks


def test_cost_of_a_command_is_its_own_and_not_that_of_who_asks() -> None:
    held = bytearray(200 << 20)
    held[::4096] = b"x" * len(held[::4096])
    little = cost.of([sys.executable, "-c", "print('said')"])
    assert little.said == "said\n"
    assert 1 < little.peak < 100
    much = cost.of([sys.executable, "-c", "a = b'x' * (150 << 20); b = sum(range(10**6))"])
    assert much.peak > 150
    assert much.seconds > 0
    assert much.processor > 0
    assert len(held) == 200 << 20


def test_cost_of_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(click.ClickException, match=r"ended with 7:\nwhy"):
        cost.of(["sh", "-c", "echo why; exit 7"])


def test_file_with_a_finding_is_no_figure(tmp_path: Path) -> None:
    files.configure(tmp_path / "lxc", 2)
    with pytest.raises(click.ClickException, match="no finding in 2 files"):
        files.lint(tmp_path / "lxc", 3)


def test_log_whose_denials_are_not_all_counted_is_no_figure(tmp_path: Path) -> None:
    denied = files.write_log(tmp_path / "log", 1, files.SPARSE)
    assert denied == (tmp_path / "log").read_bytes().count(b'apparmor="DENIED"') > 0
    for counted in (files.denials, files.grep):
        with pytest.raises(click.ClickException, match=f"{denied} denials were counted"):
            counted(tmp_path / "log", denied + 1)


def test_bench_of_files_measures_each_command_and_needs_no_lab(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent() -> None:
        raise MissingProgram("not installed: qemu-system-x86_64")

    monkeypatch.setattr(machine, "hardware", absent)
    little = partial(files.measure, configurations=3, small=1, large=4)
    monkeypatch.setattr(files, "measure", little)
    told = tmp_path / "figures.json"
    done = CliRunner().invoke(main, ["--files", "--times", "1", "--json", str(told)])
    assert done.exit_code == 0, done.output
    figures = json.loads(told.read_text())
    assert "accelerator" not in figures["machine"]
    dense = "4 MiB, 1 line in 10 a denial"
    assert {"lint of 3 configurations", f"denials of {dense}", f"grep of {dense}"} <= set(
        figures["seconds"]
    )
    assert {
        f"ratio denials / grep of {dense}: processor seconds",
        f"denials of {dense}: peak, MiB",
        "denials of 1 MiB, 1 line in 10 a denial: peak, MiB",
        "lint of 3 configurations: processor seconds",
    } <= set(figures["counts"])
