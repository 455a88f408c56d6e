"""What is left out on a target: what may not be changed, and what came about before."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from remediation import desired
from targets import connect
from targets.errors import TransportError
from targets.target import EXPECTED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
THERE, NOT_THERE, AWAY = (Target(host, 950) for host in ("there", "not-there", "away"))


class Item:
    """A collected scenario, as far as it matters."""

    def __init__(self, target: Target, *tags: str) -> None:
        self.callspec = SimpleNamespace(params={"target": target})
        self.tags = tags

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
def _as_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    FILES.clear()
    FILES[desired.TUNABLE_PATH] = desired.TUNABLE
    FILES[desired.PROFILE_PATH] = desired.profile(None)


@pytest.fixture
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The conftest of the gate, which finds one target's container there."""

    CONNECTED.clear()

    @contextmanager
    def opened(target: Target, **_: object) -> Iterator[SimpleNamespace]:
        if target is AWAY:
            raise TransportError("no route to host")
        CONNECTED.append((target, "open"))
        files = FILES if target is THERE else {}
        node = SimpleNamespace(
            run=lambda argv: SimpleNamespace(
                ok=target is THERE and argv == ["test", "-d", desired.REPOSITORY]
            ),
            read=files.get,
        )
        yield SimpleNamespace(state=lambda _: "running" if target is THERE else None, node=node)
        CONNECTED.append((target, "closed"))

    monkeypatch.setattr(connect, "opened", opened)
    found: Any = request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    return found


def asked(ours: Any, items: list[Item], **options: object) -> tuple[list[Item], list[str]]:
    """Return what is left, and what the header says."""
    left_out: list[Item] = []

    def take(items: list[Item]) -> None:
        left_out.extend(items)

    given = {"--target": ["T"], "--allow-mutation": True} | options
    config = SimpleNamespace(
        getoption=given.get,
        option=SimpleNamespace(collectonly=False),
        stash=pytest.Stash(),
        pluginmanager=SimpleNamespace(getplugin=lambda _: None),
        hook=SimpleNamespace(pytest_deselected=take),
    )
    left = list(items)
    ours.pytest_collection_modifyitems(config, left)
    assert {*left, *left_out} == set(items)
    return left, ours.pytest_report_collectionfinish(config, left)


def test_what_came_about_before_is_not_asked_and_said_not_to_be(ours: Any) -> None:
    made, other = (Item(THERE, "mutates", *tags) for tags in (("from_nothing",), ()))
    left, said = asked(ours, [made, other])
    assert left == [other]
    assert said == ["there/950: the container is there, so how it comes about is not asked"]


def test_one_connection_serves_a_whole_run(ours: Any) -> None:
    config = SimpleNamespace(
        stash=pytest.Stash(), pluginmanager=SimpleNamespace(getplugin=lambda _: None)
    )
    alike = Target("there", 950, sudo=True)
    assert str(alike) == str(THERE)
    for _ in range(2):
        ours._without(config, THERE)
        assert ours._opened(config, THERE) is ours._opened(config, THERE)
        assert ours._opened(config, alike) is not ours._opened(config, THERE)
    assert [(THERE, "open"), (alike, "open")] == CONNECTED
    ours.pytest_unconfigure(config)
    assert CONNECTED[2:] == [(alike, "closed"), (THERE, "closed")]


def test_without_phoenix_its_repository_is_not_asked_about(ours: Any) -> None:
    of_it, other = (Item(NOT_THERE, *tags) for tags in (("phoenix",), ()))
    left, said = asked(ours, [of_it, other], **{"--allow-mutation": False})
    assert left == [other]
    assert said == [
        "not-there/950: no phoenix is there, so what the plan changes in it is not asked"
    ]
    for aim in (THERE, AWAY):
        assert asked(ours, [Item(aim, "phoenix")])[1] == []


def test_without_a_reserved_id_the_rollback_is_not_asked(ours: Any) -> None:
    left, said = asked(ours, [Item(THERE, "mutates", "before_the_plan")])
    assert (left, len(said)) == ([], 1)
    assert "no ctid is reserved" in said[0]
    reserving = Target("there", 950, reserved=(951,))
    assert asked(ours, [Item(reserving, "mutates", "before_the_plan")])[1] == []


def test_on_a_node_with_the_plan_its_own_part_is_not_rolled_back(ours: Any) -> None:
    left, said = asked(ours, [Item(THERE, "mutates", "untouched")])
    assert (left, len(said)) == ([], 1)
    assert "by itself" in said[0]
    assert asked(ours, [Item(NOT_THERE, "mutates", "untouched")])[1] == []


@pytest.mark.parametrize(
    ("files", "is_on"),
    [
        ({desired.TUNABLE_PATH: desired.TUNABLE}, True),
        ({desired.PROFILE_PATH: desired.profile(None)}, True),
        ({desired.TUNABLE_PATH: b"# ours\n", desired.PROFILE_PATH: b"older\n"}, False),
        ({}, False),
    ],
)
def test_either_of_the_nodes_files_is_the_plan(
    ours: Any, files: dict[str, bytes], is_on: bool
) -> None:
    FILES.clear()
    FILES.update(files)
    left, said = asked(ours, [Item(THERE, "mutates", "untouched")])
    assert (left == [], bool(said)) == (is_on, is_on)


def test_a_repository_that_was_written_down_must_be_there(ours: Any) -> None:
    written = Target("not-there", 950, repository="/srv/phoenix")
    item = Item(written, "phoenix")
    assert asked(ours, [item]) == ([item], [])


@pytest.mark.parametrize("aim", [NOT_THERE, AWAY])
def test_what_is_not_there_or_cannot_be_asked_is_for_the_scenario(ours: Any, aim: Target) -> None:
    made = Item(aim, "mutates", "from_nothing")
    assert asked(ours, [made]) == ([made], [])


def test_of_several_targets_each_is_asked_for_itself(ours: Any) -> None:
    items = [Item(aim, "mutates", "from_nothing") for aim in (THERE, NOT_THERE)]
    left, _ = asked(ours, items)
    assert left == items[1:]


def test_the_lab_of_this_run_is_made_by_it(ours: Any) -> None:
    made = Item(THERE, "mutates", "from_nothing")
    assert asked(ours, [made], **{"--target": []}) == ([made], [])


def test_without_leave_nothing_that_changes_is_asked(ours: Any) -> None:
    changes, looks = Item(THERE, "mutates", "from_nothing"), Item(THERE)
    left, said = asked(ours, [changes, looks], **{"--allow-mutation": False})
    assert left == [looks]
    assert said == ["1 scenario that changes the target is not asked (--allow-mutation), of VAL-3"]


def test_what_is_left_out_is_told_in_lines_that_end_between_words(
    ours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    items = [Item(THERE, "mutates") for _ in range(2)]
    for number, item in enumerate(items):
        clauses = [f"STEP-{number}.{each}" for each in range(9)]
        item.iter_markers = lambda _, ids=clauses: (  # type: ignore[method-assign,misc]
            SimpleNamespace(kwargs={"id": each}) for each in ids
        )
    [said] = asked(ours, items, **{"--allow-mutation": False})[1]
    assert said.startswith("2 scenarios that change the target are not asked (--allow-mutation), ")
    assert max(map(len, said.splitlines())) <= 80
    assert said.count("\n") > 1
    assert not [line for line in said.splitlines()[:-1] if line[-1] not in ",f"]


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the gate itself, with its results in a folder."""
    argv = [sys.executable, "-m", "pytest", "features/", "--no-report", "--alluredir", folder]
    return subprocess.run(
        [*argv, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_target_that_is_none_is_one_line(tmp_path: Path, workers: tuple[str, ...]) -> None:
    seen = ran(tmp_path, "--target", "x", *workers)
    assert (seen.returncode, seen.stdout.strip()) == (2, "")
    assert seen.stderr == (
        f"ERROR: target 'x': expected {EXPECTED}, or a name in a target file (--target-file)\n"
    )


def test_a_target_that_cannot_be_reached_is_told_once_and_first(tmp_path: Path) -> None:
    seen = ran(tmp_path, "--target", "x@127.0.0.1:1/950")
    assert seen.returncode == 3
    whole, cause, summary, verdict = seen.stdout.split("\n\n")
    header = " ".join(whole.split())
    assert header.partition(",")[0] == (
        "10 scenarios that change the target are not asked (--allow-mutation)"
    )
    assert {"VAL-3", "VAL-4"} <= set(re.findall(r"[A-Z]+-[\d.]+", header))
    assert cause.startswith("cannot reach x@127.0.0.1:1 by SSH: ")
    assert re.fullmatch(r"\d+ scenarios undetermined: see above", summary)
    assert verdict.startswith("verdict: undetermined (")
