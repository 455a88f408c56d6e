"""The matrix of nodes and guests: which row a cell becomes; no lab is started here."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from docker_lxc_gate.doctor.case import PROBLEMS, Diagnosis, Unseen
from docker_lxc_gate.lab.errors import ImageBuildFailed
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.target import Target
from proof import matrix
from tests.doubles.answering import Answering
from tests.unit.verdict.test_comparison import GREEN, RED, run

HEALTHY = Diagnosis((), ())
UNKNOWN = Diagnosis((PROBLEMS["upgrade-unknown"].here("runc"),), (Unseen("its mounts", "no"),))


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """A lab that notes what was brought up."""
    brought_up: list[tuple[str, list[str]]] = []

    def up(self: Lab, node: str, guests: list[str]) -> Lab:
        brought_up.append((node, guests))
        return self

    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    monkeypatch.setattr(Lab, "up", up)
    monkeypatch.setattr(Lab, "restore", lambda _: None)
    return brought_up


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens in a container: ``tried`` is a stand-in, as are doctor and the container."""
    did: list[str] = []
    judged = run({"a": GREEN, "b": RED, "c": RED}, verdict="not compliant")
    judged.targets[0].versions = {"Kernel": "7.2", "LXC": "1:7.0", "Docker": "28|5"}
    inside = Answering(lambda argv: did.append(f"ran {argv[-1][:6]}") or (0, b"", b""), "inside")

    def tried(
        _: object,
        aim: Target,
        __: Path,
        created: Callable[[int], None],
        asked: Callable[[int], None],
    ) -> tuple[int, list[str]]:
        did.append(f"made of {aim.template.rpartition('/')[2]} for {aim.plan}")
        created(951)
        did.append("judged")
        asked(951)
        return 1, ["file /etc/x: absent -> f 644"]

    def asks(word: str, answer: Diagnosis) -> Callable[..., Diagnosis]:
        return lambda *_: did.append(word) or answer

    runtime = SimpleNamespace(inside=lambda _: inside)
    monkeypatch.setattr(matrix.options, "opened", lambda _: nullcontext(runtime))
    monkeypatch.setattr(matrix, "tried", tried)
    monkeypatch.setattr(matrix.judged, "record", lambda *_: judged)
    monkeypatch.setattr(matrix, "examine", asks("doctor", HEALTHY))
    monkeypatch.setattr(matrix.upgrade, "examine", asks("forecast", UNKNOWN))
    return did


def told(*words: str) -> Any:
    return CliRunner().invoke(matrix.main, words)


def test_a_cell_is_a_row_with_versions_and_the_cause_of_each_red_scenario(
    ran: list[str], lab: list[tuple[str, list[str]]]
) -> None:
    done = told("--cell", "trixie/unstable", "--plan", "plain")
    head, _, row = done.stdout.splitlines()
    assert head.count("|") == row.replace("\\|", "").count("|") == len(matrix.HEAD) + 1
    assert row.startswith("| trixie/unstable | 7.2 | 1:7.0 |  | 28\\|5 | plain | not compliant (3 ")
    assert ": why b; : why c; the node, afterwards: file /etc/x: absent" in row
    assert row.endswith("| no problem |")
    assert lab == [("trixie", ["unstable"])]
    assert ran == ["made of debian-unstable-docker_amd64.tar.zst for plain", "judged", "doctor"]


def test_an_upgrade_in_place_is_forecast_before_it_and_judged_after(ran: list[str]) -> None:
    row = matrix.judge("trixie/trixie+unstable", "plain")
    assert [word.partition(" ")[0] for word in ran] == [
        *("made", "ran", "forecast", "ran", "judged", "doctor"),
    ]
    before = "before the upgrade: upgrade-unknown (advice), could not see its mounts: no"
    assert row[-1] == f"{before}; no problem"


def test_a_cell_that_cannot_be_built_is_a_row_and_the_next_follows(
    ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Lab, node: str, __: list[str]) -> Lab:
        raise ImageBuildFailed(f"{node}: mke2fs ended with 1:\n  no such file")

    monkeypatch.setattr(Lab, "up", fails)
    done = told("--plan", "plain")
    rows = done.stdout.splitlines()[2:]
    assert len(rows) == len(matrix.CELLS) == 10
    assert "| plain | not judged | unstable: mke2fs ended with 1:\\\\n  no such file |" in rows[6]
    assert ran == []
