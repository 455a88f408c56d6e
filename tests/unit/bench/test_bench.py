"""The benchmark measures what its names say, and tells what it could not measure.

But for the files, which are real, programs that only answer stand in for Python, ssh and the peers.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proof.bench.lab import comparable
from tests.doubles.samples import ROOT, sample

#: Answers as the programs do on a lab where nothing is to be done; $FAILS fails.
PROGRAM = sample("programs/of_a_benchmark")


def bench(
    folder: Path, *options: str, code: int = 0, root: Path | None = None, **settings: str
) -> dict[str, Any]:
    """Run the benchmark of a checkout (default: the one in the folder); return its figures."""
    argv = [str((root or folder) / "scripts/bench"), "--json", str(folder / "figures.json")]
    environment = os.environ | {"LAB_HOME": str(folder)} | settings
    done = subprocess.run(
        [*argv, *options], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return figures


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with programs that only answer."""
    shutil.copytree(ROOT / "proof/bench", tmp_path / "proof/bench")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/bench", tmp_path / "scripts")
    for name in (
        *(".venv/bin/python", ".venv/bin/ssh"),
        *(f"peers/bin/{peer}" for peer in ("python", "pyinfra", "ansible-playbook", "pytest")),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "stages"), [("", 8), ("--quick", 6), ("--peers", 24), ("--containers 5,1", 9)]
)
def test_bench_measures_every_stage(checkout: Path, options: str, stages: int) -> None:
    figures = bench(checkout, *options.split(), "--times", "1")
    assert figures["failed"] == {}
    assert len(figures["seconds"].keys() - {"booting the node (tcg)"}) == stages
    assert figures["machine"]["accelerator"] == "tcg"
    assert figures["format"] == 1
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]+\+00:00", figures["date"])


def test_bench_with_a_stage_that_fails_keeps_the_other_figures(checkout: Path) -> None:
    figures = bench(checkout, "--no-cold", code=3, FAILS="-m proof.faults F12")
    [(stage, why)] = figures["failed"].items()
    assert stage == "one fault (F12): restore, inject, ask"
    assert "broken: -m proof.faults F12" in why
    assert len(figures["seconds"]) == 6
    assert figures["counts"]["round trips"] == 3


@pytest.mark.parametrize("setting", ["DRIFT", "CHANGED"])
def test_command_that_has_something_to_do_is_no_figure(checkout: Path, setting: str) -> None:
    figures = bench(checkout, "--quick", code=3, **{setting: "true"})
    verbs = {"DRIFT": ("status", "plan"), "CHANGED": ("apply",)}[setting]
    assert figures["failed"].keys() == {f"{verb}, nothing to do" for verb in verbs}
    assert all("something to do: tunable" in why for why in figures["failed"].values())


@pytest.mark.parametrize(
    "options",
    ["--quick --peers", "--containers 1,,2", "--containers 41", "--times 0", "--json", "--fast"],
)
def test_bench_with_wrong_options_ends_with_2(checkout: Path, options: str) -> None:
    (checkout / "figures.json").write_text("{}")
    assert bench(checkout, *options.split(), code=2) == {}


@pytest.mark.laws
def test_bench_of_files_measures_configurations_and_a_peak_that_stays(tmp_path: Path) -> None:
    """By the processor's time and not by a clock: no other load breaks these bounds."""
    figures = bench(tmp_path, "--files", "--times", "1", root=ROOT, SMALL="4", LARGE="32")
    counts = figures["counts"]
    assert counts["lint of 1000 configurations: processor seconds"] < 10
    for often in ("10,000", "10"):
        logs = [f"{mib} MiB, 1 line in {often} a denial" for mib in (4, 32)]
        few, many = (counts[f"denials of {log}: peak, MiB"] for log in logs)
        assert abs(many - few) < 10
        assert f"ratio denials / grep of {logs[1]}: seconds" in counts
        assert {f"denials of {logs[0]}", f"grep of {logs[1]}"} <= figures["seconds"].keys()


def _collected(*arguments: str) -> set[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "features/"]
    argv += ["--collect-only", "-q", *arguments]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in listed.stdout.splitlines() if "::" in line}


def test_compared_gate_leaves_out_rollback_and_prerequisites_alone() -> None:
    match = re.search(r'stage "\$compared" "gate (.+)"', (ROOT / "proof/bench/lab.sh").read_text())
    assert match
    everything, compared = _collected(), _collected(*shlex.split(match[1]))
    left_out = {line.partition("::")[0] for line in everything - compared}
    assert left_out == {"features/prerequisites.feature", "features/rollback.feature"}
    assert not {line for line in compared if line.startswith(tuple(left_out))}
    assert compared


def test_comparable_states_leave_out_times_and_the_tools_own_files() -> None:
    state = {
        "node: file /etc/a": "f 644 0:0 5 |1764.5 77",
        "node: file /root/files/a": "f 644 0:0 5 |1764.5 78",
        "node: content of /root/.ansible/x": "hash",
        "container: content of /etc/docker/daemon.json": "hash",
    }
    kept = comparable(state)
    assert kept == comparable(state | {"node: file /etc/a": "f 644 0:0 5 |9999.5 99"})
    assert kept.keys() == {"node: file /etc/a", "container: content of /etc/docker/daemon.json"}
    assert kept != comparable(state | {"node: file /etc/a": "f 600 0:0 5 |1764.5 77"})
