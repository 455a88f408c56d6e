"""What is left out on a target: what may not be changed, and what came about before."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.read import Read, is_directory
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.verdict import evidence
from docker_lxc_gate.verdict.collection import LEFT_OUT
from docker_lxc_gate.verdict.requirements import CATALOGUE
from remediation import desired, phoenix, plan_file
from steps import asked, machines
from tests.doubles.samples import ROOT
from tests.unit.verdict.conftest import recorded

THERE, NOT_THERE, AWAY = (Target(host, 950) for host in ("there", "not-there", "away"))


class Item:
    """A collected scenario, as far as it matters."""

    def __init__(self, target: Target, *tags: str) -> None:
        self.callspec = SimpleNamespace(params={"target": target})
        self.tags, self.stash = tags, pytest.Stash()

    def iter_markers(self, name: str) -> Iterator[SimpleNamespace]:
        assert name == "req"
        yield SimpleNamespace(kwargs={"id": "VAL-3"})

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.tags else None


#: The connections that were made and closed.
CONNECTED: list[tuple[Target, str]] = []
#: What is on the node that is there; each test may make it another one.
FILES: dict[str, bytes] = {}


@pytest.fixture(autouse=True)
def _connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gate find one target's container, on a node that is as planned."""
    monkeypatch.setenv("COLUMNS", "120")
    FILES.clear()
    FILES[desired.TUNABLE_PATH] = desired.TUNABLE
    FILES[desired.PROFILE_PATH] = desired.profile()
    CONNECTED.clear()

    @contextmanager
    def connected(target: Target, **_: object) -> Iterator[None]:
        if target is AWAY:
            raise TransportError("no route to host")
        CONNECTED.append((target, "open"))
        yield
        CONNECTED.append((target, "closed"))

    def runtime_on(_: None, target: Target, **__: object) -> SimpleNamespace:
        files = FILES if target is THERE else {}

        def ask(read: Read[Any]) -> Any:
            if read.argv == is_directory(phoenix.REPOSITORY).argv:
                return target is THERE
            return files.get(read.argv[-1])

        node = SimpleNamespace(ask=ask, read=files.get)
        return SimpleNamespace(state=lambda _: "running" if target is THERE else None, node=node)

    monkeypatch.setattr(connect, "connected", connected)
    monkeypatch.setattr(connect, "runtime_on", runtime_on)


class Config(SimpleNamespace):
    """pytest's configuration, as far as it is asked for here."""

    def __init__(self, **options: object) -> None:
        given = {"--target": ["T"], "--allow-mutation": True} | options
        self.left_out: list[Item] = []
        super().__init__(
            getoption=given.get,
            option=SimpleNamespace(collectonly=False),
            stash=pytest.Stash(),
            pluginmanager=SimpleNamespace(getplugin=lambda _: None),
            hook=SimpleNamespace(pytest_deselected=self.leave_out),
        )
        self.stash[evidence.COLLECTOR] = evidence.Collector()

    def leave_out(self, items: list[Item]) -> None:
        self.left_out.extend(items)


def left_of(items: list[Item], **options: object) -> tuple[list[Item], list[str]]:
    """Return what is left, and why the others are not asked."""
    config, left = Config(**options), list(items)
    asked.pytest_collection_modifyitems(config, left)
    assert {*left, *config.left_out} == set(items)
    return left, [": ".join(item.stash[LEFT_OUT]) for item in config.left_out]


WRITTEN = Target("not-there", 950, repository="/srv/phoenix")
RESERVING = Target("there", 950, reserved=(951,))


@pytest.mark.parametrize(
    ("aim", "tag", "is_left_out"),
    [
        *((THERE, "from_nothing", True), (NOT_THERE, "from_nothing", False)),
        *((NOT_THERE, "phoenix", True), (THERE, "phoenix", False), (WRITTEN, "phoenix", False)),
        *((THERE, "before_the_plan", True), (RESERVING, "before_the_plan", False)),
        *((THERE, "untouched", True), (NOT_THERE, "untouched", False)),
        # Nobody can say: the scenario will.
        *((AWAY, "from_nothing", False), (AWAY, "phoenix", False)),
    ],
    ids=str,
)
def test_scenario_that_a_target_cannot_be_asked_is_left_out_and_said(
    aim: Target, tag: str, is_left_out: bool
) -> None:
    tagged, other = Item(aim, "mutates", tag), Item(aim)
    left, said = left_of([tagged, other])
    assert set(left) == ({other} if is_left_out else {tagged, other})
    assert [line.partition(": ")[0] for line in said] == ["not asked"] * is_left_out


def test_scenarios_of_several_targets_are_left_out_each_for_its_own() -> None:
    items = [Item(aim, "mutates", "from_nothing") for aim in (THERE, NOT_THERE)]
    left, _ = left_of(items)
    assert left == items[1:]


def test_scenario_from_nothing_on_the_lab_of_this_run_is_asked() -> None:
    made = Item(THERE, "mutates", "from_nothing")
    assert left_of([made], **{"--target": []}) == ([made], [])


def test_connection_serves_a_whole_run_once_a_node() -> None:
    config, alike = Config(), Target("there", 951, sudo=True)
    for _ in range(2):
        asked.pytest_collection_modifyitems(
            config, [Item(THERE, "phoenix"), Item(alike, "phoenix")]
        )
    assert [(THERE, "open")] == CONNECTED
    machines.pytest_unconfigure(config)
    assert [(THERE, "open"), (THERE, "closed")] == CONNECTED


@pytest.mark.parametrize(
    ("files", "is_on"),
    [
        ({desired.TUNABLE_PATH: desired.TUNABLE}, True),
        ({desired.PROFILE_PATH: desired.profile()}, True),
        ({desired.TUNABLE_PATH: b"# ours\n", desired.PROFILE_PATH: b"older\n"}, False),
        ({}, False),
    ],
)
def test_untouched_node_has_neither_file_of_the_plan(files: dict[str, bytes], is_on: bool) -> None:
    FILES.clear()
    FILES.update(files)
    left, said = left_of([Item(THERE, "mutates", "untouched")])
    assert (left == [], bool(said)) == (is_on, is_on)


def test_scenario_of_another_plan_is_left_out_and_said() -> None:
    plain = Target("there", 950, plan="plain")
    its, both, of_default = Item(plain, "default_plan"), Item(plain), Item(THERE, "default_plan")
    left, said = left_of([its, both, of_default])
    assert left == [both, of_default]
    assert said == ["not applicable: not of the plan plain"]


def test_scenario_that_changes_is_left_out_without_leave() -> None:
    changes, looks = Item(THERE, "mutates", "from_nothing"), Item(THERE)
    left, said = left_of([changes, looks], **{"--allow-mutation": False})
    assert left == [looks]
    (line,) = said
    assert line == "not asked: runs Docker or changes the target, which needs --allow-mutation"


def ran(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the gate itself, with its results in a folder: others may claim reports/ meanwhile."""
    argv = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "features/"]
    argv += ["--no-report", "--alluredir", str(folder), "--junit-xml", str(folder / "junit.xml")]
    env = os.environ | environment
    return subprocess.run(
        [*argv, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--target", "x"), "target 'x': "),
        # Each of two plans would take the other's place in the record.
        (("--target", "lab/950", "--target", "lab/950"), "--target: lab/950 is named twice"),
        (
            ("--target", "x", "--target-file", "a", "--target-file", "b"),
            "--target-file is given 2 times, and",
        ),
        (
            ("--target", "x", "--plan", "plain", "--plan", "docker-in-lxc"),
            "--plan is given 2 times, and",
        ),
    ],
)
def test_gate_with_a_wrong_target_ends_with_2_in_one_line(
    tmp_path: Path, more: tuple[str, ...], told: str
) -> None:
    seen = ran(tmp_path, *more)
    assert (seen.returncode, seen.stdout.strip()) == (2, "")
    assert seen.stderr.startswith(f"ERROR: {told}")
    assert seen.stderr.count("\n") == 1


def test_gate_with_one_unreachable_node_judges_the_other(tmp_path: Path) -> None:
    aims = ("--target", "x@127.0.0.1:1/all", "--target", "y@127.0.0.1:1/950")
    seen = ran(tmp_path, *aims, "-k", "VAL")
    assert seen.returncode == 3
    whole = recorded(tmp_path)
    why = "cannot reach x@127.0.0.1:1 by SSH: Connection refused"
    assert whole["problems"] == [f"x@127.0.0.1:1/all: {why}"]
    assert {each["target"] for each in whole["scenarios"]} == {"y@127.0.0.1:1/950"}


def test_gate_with_an_unreachable_node_alone_has_a_record(tmp_path: Path) -> None:
    seen = ran(tmp_path, "--target", "x@127.0.0.1:1/all")
    assert (seen.returncode, "verdict: undetermined\n" in seen.stdout) == (3, True)
    assert recorded(tmp_path)["code"] == 3


def test_gate_with_an_unreachable_target_tells_it_once_and_first(tmp_path: Path) -> None:
    seen = ran(tmp_path, "--target", "x@127.0.0.1:1/950", "-k", "VAL")
    assert seen.returncode == 3
    cause, summary, left_out, verdict = seen.stdout.strip().split("\n\n")
    assert "x@127.0.0.1:1" in cause
    assert re.fullmatch(r"\d+ scenarios undetermined: see above", summary)
    assert {"VAL-3", "VAL-4"} <= set(re.findall(r"[A-Z]+-[\d.]+", left_out))
    assert verdict.startswith("verdict: undetermined (")
    whole = recorded(tmp_path)
    [target] = whole["targets"]
    assert (target["name"], target["plan"]) == ("x@127.0.0.1:1/950", plan_file.find().identity)
    assert [each["id"] for each in whole["requirements"]] == [*CATALOGUE]
    [suite] = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - ours
    errors = [each.get("message", "") for each in suite.findall("testcase/error")]
    assert {each.count("\n") for each in errors} == {0}
    assert len(errors) == int(suite.get("errors", 0)) == int(summary.partition(" ")[0])
    skipped = {each.get("message", "") for each in suite.findall("testcase/skipped")}
    assert any("--allow-mutation" in each for each in skipped)
