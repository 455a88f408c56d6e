"""What a command costs, without a clock: looks, and starts of ``pct``.

``pct`` is a large program: a start costs more than most looks. A change that asks more must say
why, and raise the bound here.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.machines.ssh import connection
from tests.doubles.nodes.counted import Counted
from tests.doubles.nodes.healthy import Healthy
from tests.unit.verdict.test_what_is_asked import ran as judged

NODE = "root@pve1/950"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Healthy:
    """The node that every connection reaches."""
    one = Healthy(name="pve1")
    monkeypatch.setattr(connection, "Ssh", lambda *_, **__: one)
    return one


def ran(*words: str) -> Result:
    done = CliRunner().invoke(main, [*words, "--target", NODE])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize(
    ("words", "looks"), [(("status",), 25), (("plan",), 25), (("apply", "--yes"), 30)]
)
def test_command_with_nothing_to_do_costs_few_looks_and_no_start_of_pct(
    node: Healthy, words: tuple[str, ...], looks: int
) -> None:
    ran(*words)
    assert node.unknown == []
    assert node.starts == 0
    assert len(node.trips) <= looks, "\n".join(node.trips)


@pytest.mark.parametrize("lacking", ["", "docker-cli"])
def test_apply_and_rollback_start_pct_to_restart_the_container_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """Also where the release lacks a package that comes with Docker in others."""
    node = Counted(tmp_path)
    node.whole.in_container.guest.needs.pop(lacking, None)
    monkeypatch.setattr(connection, "Ssh", lambda *_, **__: node)
    for words, most in ((("plan",), 0), (("apply", "--yes"), 2), (("rollback", "--yes"), 2)):
        node.trips.clear()
        node.reconnect()
        ran(*words)
        assert node.starts == most, "\n".join(trip for trip in node.trips if "pct " in trip)


def gate(folder: Path, *targets: str, containers: int = 0) -> dict[str, Any]:
    """Run the read-only gate on the double, alone or of several; return what was asked."""
    seen = folder / "seen.json"
    options = ["-p", "tests.doubles.nodes.healthy", *(f"--target={each}" for each in targets)]
    several = {"HEALTHY_SEEN": str(seen), "HEALTHY_CONTAINERS": str(containers)}
    done = judged(folder, *options, **several)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: compliant" in done.stdout
    told: dict[str, Any] = json.loads(seen.read_text())
    assert told["unknown"] == []
    return told


@pytest.mark.laws
def test_read_only_gate_costs_at_most_so_many_looks_and_no_start_of_pct(tmp_path: Path) -> None:
    told = gate(tmp_path, NODE)
    assert len(told["trips"]) <= 178, "\n".join(told["trips"])
    assert told["starts"] == 0
    assert scenarios_without_evidence(tmp_path) == set()


@pytest.mark.laws
@pytest.mark.parametrize("targets", [("pve1/all",), [f"pve1/95000{n}" for n in (1, 2, 3)]])
def test_read_only_gate_of_a_node_starts_no_pct(
    tmp_path: Path, targets: tuple[str, ...] | list[str]
) -> None:
    told = gate(tmp_path, *targets, containers=3)
    assert told["starts"] == 0
    assert scenarios_without_evidence(tmp_path) == set()


def scenarios_without_evidence(results: Path) -> set[str]:
    """Return the scenarios that have no command of their own in the report."""
    silent = set()
    for path in results.glob("*-result.json"):
        scenario = json.loads(path.read_text())
        told = [scenario, *scenario.get("steps", [])]
        attached = [each["source"] for one in told for each in one.get("attachments", [])]
        asked = scenario["status"] != "skipped"
        if asked and not any("\n$ " in (results / each).read_text() for each in attached):
            silent.add(scenario["name"])
    return silent
