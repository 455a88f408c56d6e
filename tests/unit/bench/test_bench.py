"""What the benchmark compares with a bare shell: nothing that only one of them does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from bench import comparison, machine, stages
from bench.__main__ import main
from bench.stages import COMPARED
from faults.catalogue import chosen
from targets.errors import FactError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.clock import Clock

ROOT = Path(__file__).parents[3]


def _collected(*arguments: str) -> set[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "features/"]
    argv += ["--collect-only", "-q", *arguments]
    seen = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in seen.stdout.splitlines() if "::" in line}


def test_compared_leaves_out_rollback_and_prerequisites_alone() -> None:
    everything, compared = _collected(), _collected(*COMPARED)
    left_out = {line.partition("::")[0] for line in everything - compared}
    assert left_out == {"features/prerequisites.feature", "features/rollback.feature"}
    assert not {line for line in compared if line.startswith(tuple(left_out))}
    assert compared


def test_fault_that_is_measured_is_in_the_catalogue() -> None:
    assert [fault.id for fault in chosen([stages.FAULT])] == [stages.FAULT]


HASH = "0123456789ab"


class Lab:
    """A lab on which nothing happens."""

    running = True
    home = Path("/nowhere")

    def __init__(self) -> None:
        self.names = ["stocked", "ready", f"healthy-{HASH}", f"healthy-951-{HASH}", "bench-docker"]
        self.restored_to: list[str] = []

    def up(self) -> Lab:
        return self

    def snapshots(self) -> list[str]:
        return self.names

    def restore(self, name: str) -> None:
        self.restored_to.append(name)


NOTHING_TO_DO = {
    "status": {"actions": [{"id": "a", "drift": None}]},
    "plan": {"changes": []},
    "apply": [{"id": "a", "changed": False}],
}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    one = Lab()
    monkeypatch.setattr(stages.Lab, "open", lambda *args, **kwargs: one)
    return one


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> list[str]:
    """What is run, with nothing of it being real."""
    ran: list[str] = []

    def run(*words: str) -> str:
        ran.append(" ".join(words[:2]))
        return json.dumps(NOTHING_TO_DO.get(words[1], {}))

    def status(lab: Lab, clock: Clock) -> None:
        clock.counts["round trips of a status"] = 3

    monkeypatch.setattr(stages, "_bare", lambda lab: 4.0)
    monkeypatch.setattr(stages, "_status", status)
    monkeypatch.setattr(stages, "run", run)
    monkeypatch.setattr(comparison, "run", run)
    monkeypatch.setattr(machine, "described", lambda: {"cores": 2, "accelerator": "tcg"})
    return ran


def test_bench_with_every_stage_measured_ends_with_0_and_a_table(ran: list[str]) -> None:
    done = CliRunner().invoke(main, ["--no-cold"])
    assert done.exit_code == 0, done.output
    assert "restore (median of 5)" in done.stdout
    assert "ratio gate" in done.stdout
    assert ran == ["pytest features/", "pytest features/", "faults F12", "faults F12"]


@pytest.mark.parametrize("error", [TransportError("gone"), click.ClickException("red")])
def test_bench_with_a_stage_that_fails_keeps_the_other_figures(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception, tmp_path: Path
) -> None:
    def fails(lab: Lab) -> float:
        raise error

    monkeypatch.setattr(stages, "_bare", fails)
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(main, ["--no-cold", "--json", str(file)])
    assert done.exit_code == 3
    assert "one fault (F12)" in done.stdout
    assert "ratio" not in done.stdout
    assert re.search(r"bare: the same commands in one shell +failed", done.stdout)
    assert "faults F12" in ran
    told = json.loads(file.read_text())
    assert told["failed"] == {stages.BARE_STAGE: str(error)}
    assert stages.ONE_FAULT in told["seconds"]


def test_bench_that_is_interrupted_keeps_what_it_has(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(lab: Lab) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "_bare", stopped)
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(main, ["--no-cold", "--json", str(file)])
    assert done.exit_code != 0
    assert "restore (median of 5)" in done.stdout
    assert "faults F12" not in ran
    assert stages.RESTORE in json.loads(file.read_text())["seconds"]


def test_json_has_figures_counts_machine_and_date(ran: list[str], tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert CliRunner().invoke(main, ["--no-cold", "--json", str(file)]).exit_code == 0
    told = json.loads(file.read_text())
    assert told["format"] == 1
    assert told["machine"] == {"cores": 2, "accelerator": "tcg"}
    assert told["seconds"][stages.BARE_STAGE] == 4.0
    assert told["counts"]["round trips of a status"] == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00", told["date"])
    assert told["failed"] == {}


def test_machine_is_described_without_git_and_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = machine.described()
    assert {"cores", "accelerator", "memory_mib", "python", "qemu", "changed"} <= whole.keys()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(machine, "_ROOT", Path("/"))
    assert "commit" not in machine.described()


def test_quick_runs_only_what_needs_no_build(ran: list[str], lab: Lab) -> None:
    done = CliRunner().invoke(main, ["--quick"])
    assert done.exit_code == 0, done.output
    assert lab.restored_to == [f"healthy-{HASH}"]
    assert ran == ["remediation status", "remediation plan", "remediation apply", "faults F12"]


def test_quick_without_its_snapshot_says_what_makes_it(ran: list[str], lab: Lab) -> None:
    lab.names = ["stocked", "ready"]
    done = CliRunner().invoke(main, ["--quick"])
    assert done.exit_code == 3
    assert ran == []


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("status", {"actions": [{"id": "tunable", "drift": "it is absent"}]}),
        ("plan", {"changes": [{"id": "tunable", "drift": "it is absent"}]}),
        ("apply", [{"id": "tunable", "changed": True}]),
    ],
)
def test_command_that_has_something_to_do_is_no_figure(
    monkeypatch: pytest.MonkeyPatch, verb: str, told: Any
) -> None:
    monkeypatch.setattr(stages, "run", lambda *_: json.dumps(told))
    with pytest.raises(FactError, match="tunable"):
        stages.nothing_to_do(verb)


def test_json_into_a_folder_that_is_absent_is_wrong_usage_before_anything_is_measured(
    ran: list[str], tmp_path: Path
) -> None:
    done = CliRunner().invoke(main, ["--no-cold", "--json", str(tmp_path / "none/figures.json")])
    assert done.exit_code == 2
    assert ran == []


def test_containers_are_measured_from_few_to_many_and_thrown_away(
    ran: list[str], lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(stages, "_populate", lambda _, number: made.append(number))
    done = CliRunner().invoke(main, ["--containers", "5,1"])
    assert done.exit_code == 0, done.output
    assert made == [1, 5]
    assert lab.restored_to == [f"healthy-{HASH}", "ready"]
    one = ["remediation status"] * 3 + ["remediation plan"] * 3 + ["pytest features/"] * 3
    assert ran == one * 2
    assert "5 containers: plan" in done.stdout


@pytest.mark.parametrize("text", ["0", "x", "1,,2", "1,5,1000", "-1"])
def test_containers_that_are_no_numbers_are_wrong_usage(ran: list[str], text: str) -> None:
    assert CliRunner().invoke(main, ["--containers", text]).exit_code == 2


def test_populate_creates_what_is_missing_beside_the_measured_container(
    monkeypatch: pytest.MonkeyPatch, lab: Lab
) -> None:
    made: list[list[str]] = []
    result = SimpleNamespace(require=lambda: None)
    node = SimpleNamespace(run=lambda argv, **_: made.append(argv) or result, close=lambda: None)
    lab.address = "somewhere"  # type: ignore[attr-defined]
    monkeypatch.setattr(stages, "Ssh", lambda *_, **__: node)
    there = {960: "stopped"}
    monkeypatch.setattr(stages, "Pct", lambda _: SimpleNamespace(state=there.get))
    stages._populate(lab, 1)  # type: ignore[arg-type]
    assert made == []
    stages._populate(lab, 3)  # type: ignore[arg-type]
    assert [argv[:3] for argv in made] == [["pct", "create", "961"]]


def test_quick_and_peers_together_are_wrong_usage(ran: list[str]) -> None:
    assert CliRunner().invoke(main, ["--quick", "--peers"]).exit_code == 2


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is called of the peers, whose installation is not real."""
    seen: list[str] = []

    def call(argv: list[str], *_: object) -> str:
        seen.append(" ".join(Path(word).name for word in argv))
        if Path(argv[0]).name == "ansible-playbook":
            raise click.ClickException("it broke")
        return ""

    def nothing(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(comparison, "_called", call)
    monkeypatch.setattr(comparison, "_stage", nothing)
    monkeypatch.setattr(comparison, "install", lambda home: Path("/peers/bin"))
    monkeypatch.setattr(comparison, "_connected", unconnected)
    monkeypatch.setattr(
        comparison, "_state", lambda name, states: states.update({name: {"file": name}})
    )
    return seen


@contextmanager
def unconnected(_: object) -> Iterator[Any]:
    result = SimpleNamespace(require=lambda: None)
    yield SimpleNamespace(run=lambda *_, **__: result, write=lambda *_: None)


def test_peers_that_fail_are_told_and_the_others_go_on(
    ran: list[str], lab: Lab, called: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(main, ["--peers", "--times", "1", "--json", str(file)])
    assert done.exit_code == 3, done.output
    told = json.loads(file.read_text())
    assert list(told["failed"]) == ["ansible-core: first apply"]
    for tool in ("ours", "pyinfra"):
        assert {f"{tool}: {verb}" for verb in comparison.VERBS} <= told["seconds"].keys()
    assert {"shell: first apply", "testinfra: read-only gate"} <= told["seconds"].keys()
    assert "second apply: ours / pyinfra" in told["counts"]
    assert [line.partition(" differences")[0] for line in told["notes"]] == [
        "shell: 1",
        "pyinfra: 1",
    ]
    assert lab.restored_to == ["bench-docker"] * 5
    assert [line for line in called if line.startswith("pyinfra")] == [
        "pyinfra inventory.py deploy.py -y",
        "pyinfra inventory.py deploy.py -y",
        "pyinfra inventory.py deploy.py --dry --diff",
        "pyinfra inventory.py deploy.py --dry",
    ]


def test_comparable_states_leave_out_times_and_the_tools_own_files() -> None:
    state = {
        "node: file /etc/a": "f 644 0:0 5 |1764.5 77",
        "node: file /root/plan/a": "f 644 0:0 5 |1764.5 78",
        "node: content of /root/.ansible/x": "hash",
        "container: content of /etc/docker/daemon.json": "hash",
    }
    later = state | {"node: file /etc/a": "f 644 0:0 5 |9999.5 99"}
    found = comparison.comparable(state)
    assert found == comparison.comparable(later)
    assert found.keys() == {"node: file /etc/a", "container: content of /etc/docker/daemon.json"}
    other = state | {"node: file /etc/a": "f 600 0:0 5 |1764.5 77"}
    assert found != comparison.comparable(other)


def test_peers_are_locked_by_hash_and_from_no_named_index() -> None:
    lock = (comparison.PEERS / "requirements.txt").read_text()
    locked = re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)
    assert {"pyinfra", "ansible-core", "pytest-testinfra", "paramiko"} <= set(locked)
    assert lock.count("--hash=sha256:") >= len(locked)
    assert not re.search(r"://|--index-url|--find-links", lock)
