"""A container that has moved to another node: what is left behind can be rolled back."""

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.errors import Elsewhere
from docker_lxc_gate.machines import connect
from remediation import applied, docker_in_lxc
from remediation.engine.action import Place
from remediation.engine.apply import apply
from tests.doubles.flag import ON, Flag, journal, plan

HERE = os.uname().nodename.split(".")[0]
LEFT = (
    "container 950 is on pve2: its changes (2 actions) stay, and their before-images stay in the "
    f"journal here. To roll them back, too: on pve2, pct shutdown 950 and pct migrate 950 {HERE}; "
    "then, "
    "with the same --target, apply (without the profile it does not start) and rollback"
)


class Cluster:
    """A node of a cluster, and where the container is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.of_node = [Flag("tunable"), Flag("profile", "STEP-2.2")]
        self.of_container = [Flag("features", "STEP-2.2"), Flag("driver", "STEP-3.1")]
        self.away = False

    def plan(self, *_: object, of_node: bool = False, **__: object) -> Any:
        if of_node:
            return replace(plan(self.folder, *self.of_node), whole=False)
        if self.away:
            raise Elsewhere("container 950 is not on pve1 but on pve2", "pve2")
        return plan(self.folder, *self.of_node, *self.of_container)

    def values(self) -> list[str]:
        return [flag.value for flag in (*self.of_node, *self.of_container)]

    def left(self) -> list[str]:
        return [entry.action for entry in journal(self.folder).entries()]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The plan was applied, and then the container moved."""
    made = Cluster(tmp_path)
    opened = nullcontext(SimpleNamespace(node=ON))
    monkeypatch.setattr(connect, "opened", lambda *_, **__: opened)
    monkeypatch.setattr(docker_in_lxc, "plan", made.plan)
    monkeypatch.setattr(applied, "plan_of", lambda *_: ("docker-in-lxc", "it was applied"))
    apply(made.plan())
    made.away = True
    return made


def ran(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [*arguments, "--target", "root@pve1/950"])
    return result.exit_code, result.stdout, result.stderr


def test_nodes_part_is_rolled_back_and_the_containers_stays_journalled(cluster: Cluster) -> None:
    code, said, beside = ran("rollback", "--yes")
    assert code == 3
    assert [line.split()[1:5] for line in said.splitlines()[1:]] == [
        ["the", "flag", "profile", "changed"],
        ["the", "flag", "tunable", "changed"],
    ]
    assert [line.strip() for line in beside.splitlines()] == ["side effects:", LEFT]
    assert cluster.values() == ["old", "old", "new", "new"]
    assert cluster.left() == ["features", "driver"]
    assert not journal(cluster.folder).interrupted()
    assert ran("rollback", "--yes")[:2] == (3, "nothing to roll back here\n")


def test_back_again_all_is_rolled_back_after_one_more_apply(cluster: Cluster) -> None:
    ran("rollback", "--yes")
    cluster.away = False
    assert ran("apply", "--yes")[0] == 0
    assert cluster.values() == ["new"] * 4
    assert ran("rollback", "--yes")[0] == 0
    assert cluster.values() == ["old"] * 4
    assert cluster.left() == []


def test_nothing_is_rolled_back_without_consent_to_the_rest_staying(cluster: Cluster) -> None:
    code, said, beside = ran("rollback")
    assert (code, said) == (2, "")
    assert LEFT in beside
    assert cluster.values() == ["new"] * 4


def test_container_in_which_a_run_was_cut_off_has_to_come_back_first(cluster: Cluster) -> None:
    journal(cluster.folder).record([("engine", Place.CONTAINER, "old")])
    code, said, beside = ran("rollback", "--yes")
    assert (code, said) == (3, "")
    assert beside == "error: container 950 is not on pve1 but on pve2\n"
    assert cluster.values() == ["new"] * 4


@pytest.mark.parametrize("command", ["plan", "status", "apply"])
def test_everything_else_names_the_other_node(cluster: Cluster, command: str) -> None:
    code, said, beside = ran(command)
    assert (code, said) == (3, "")
    assert beside.endswith("\nerror: container 950 is not on pve1 but on pve2\n")
