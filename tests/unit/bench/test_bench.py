"""What the benchmark compares with a bare shell: nothing that only one of them does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench import __main__ as bench
from bench.__main__ import COMPARED
from faults.catalogue import chosen
from targets.errors import TransportError

ROOT = Path(__file__).parents[3]


def _collected(*arguments: str) -> set[str]:
    argv = [sys.executable, "-m", "pytest", "features/", "--collect-only", "-q", *arguments]
    seen = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in seen.stdout.splitlines() if "::" in line}


def test_compared_leaves_out_rollback_and_prerequisites_alone() -> None:
    everything, compared = _collected(), _collected(*COMPARED)
    left_out = {line.partition("::")[0] for line in everything - compared}
    assert left_out == {"features/prerequisites.feature", "features/rollback.feature"}
    assert not {line for line in compared if line.startswith(tuple(left_out))}
    assert compared


def test_fault_that_is_measured_is_in_the_catalogue() -> None:
    assert [fault.id for fault in chosen([bench.FAULT])] == [bench.FAULT]


class Lab:
    """A lab on which nothing happens."""

    def up(self) -> Lab:
        return self


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run, with nothing of it being real."""
    ran: list[str] = []

    def status(lab: Lab, counts: bench.Counts) -> None:
        counts.trips, counts.starts = 3, 1

    monkeypatch.setattr(bench.Lab, "open", lambda *args, **kwargs: Lab())
    monkeypatch.setattr(bench, "_restore", lambda lab: 2.0)
    monkeypatch.setattr(bench, "_bare", lambda lab: 4.0)
    monkeypatch.setattr(bench, "_status", status)
    monkeypatch.setattr(bench, "_run", lambda *words: ran.append(" ".join(words[:2])))
    return ran


def test_bench_with_every_stage_measured_ends_with_0_and_a_table(stages: list[str]) -> None:
    done = CliRunner().invoke(bench.main, ["--no-cold"])
    assert done.exit_code == 0, done.output
    assert "restore (median of 5)" in done.stdout
    assert "ratio gate" in done.stdout
    assert stages == ["pytest features/", "pytest features/", "faults F12", "faults F12"]


@pytest.mark.parametrize("error", [TransportError("gone"), click.ClickException("red")])
def test_bench_with_a_stage_that_fails_keeps_the_other_figures(
    stages: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(lab: Lab) -> float:
        raise error

    monkeypatch.setattr(bench, "_bare", fails)
    done = CliRunner().invoke(bench.main, ["--no-cold"])
    assert done.exit_code == 3
    assert "one fault (F12)" in done.stdout
    assert "ratio" not in done.stdout
    assert re.search(r"bare: the same commands in one shell +failed", done.stdout)
    assert "faults F12" in stages


def test_bench_that_is_interrupted_prints_what_it_has(
    stages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(lab: Lab) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "_bare", stopped)
    done = CliRunner().invoke(bench.main, ["--no-cold"])
    assert done.exit_code != 0
    assert "restore (median of 5)" in done.stdout
    assert "faults F12" not in stages
