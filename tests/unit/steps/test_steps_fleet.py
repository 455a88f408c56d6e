"""NODE/all: what was listed and not judged is a problem of the run."""

from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import Unreachable, UsageError
from docker_lxc_gate.machines import fleet as listing
from docker_lxc_gate.machines.fleet import Listing
from docker_lxc_gate.machines.target import parse
from docker_lxc_gate.verdict import evidence, record
from remediation import plan_file
from steps import fleet, machines


class Session(SimpleNamespace):
    """A run that asks nodes for their containers, each time the next of what they answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **nodes: list[Listing | Exception]) -> None:
        gate = SimpleNamespace(
            asked=True, run=SimpleNamespace(problems=[]), tally=SimpleNamespace(not_judged=False)
        )
        config = SimpleNamespace(
            stash=pytest.Stash(),
            getoption=lambda _: [],
            pluginmanager=SimpleNamespace(get_plugin=lambda _: gate),
        )
        super().__init__(gate=gate, config=config)
        config.stash[evidence.COLLECTOR] = evidence.Collector()
        config.stash[fleet.NODES] = {f"{name}/all": parse(f"{name}/100") for name in nodes}
        answers = {name: iter(answer) for name, answer in nodes.items()}

        def listed(node: Any, *_: str) -> Listing:
            answer = next(answers[node.host])
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(machines, "opened", lambda _, target: target)
        monkeypatch.setattr(listing, "listed", listed)


def of(name: str, *ctids: int) -> Listing:
    return Listing(f"{name}/all", ctids)


def test_unreachable_or_empty_node_is_told_and_stops_none(monkeypatch: pytest.MonkeyPatch) -> None:
    away = Unreachable("no route")
    session: Any = Session(monkeypatch, a=[away], b=[of("b")], c=[of("c", 950, 951)])
    fleet.pytest_collection(session)
    assert [*map(str, session.config.stash[machines.TARGETS])] == ["c/950", "c/951"]
    assert session.gate.run.problems == [
        "a/all: no route",
        "b/all: there is no container to ask about",
    ]
    assert session.gate.tally.not_judged


def test_container_that_came_or_went_is_told_and_the_listing_stays_that_of_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session: Any = Session(monkeypatch, c=[of("c", 950, 951), of("c", 951, 952)])
    fleet.pytest_collection(session)
    assert not session.gate.tally.not_judged
    fleet.pytest_sessionfinish(session, pytest.ExitCode.INTERRUPTED)
    assert not session.gate.tally.not_judged
    fleet.pytest_sessionfinish(session, pytest.ExitCode.OK)
    assert [each.partition(" ")[0] for each in session.gate.run.problems] == ["c/950", "c/952"]
    assert session.config.stash[record.NODES]["c/all"].asked == (950, 951)


@pytest.mark.parametrize(
    "given", [["docker"], ["tag="], ["name=x"], ["xtag=y"], ["tag=a", "tag=b"]]
)
def test_selection_that_is_no_tag_is_refused(given: list[str]) -> None:
    config: Any = SimpleNamespace(getoption=lambda _: given)
    with pytest.raises(pytest.UsageError, match="write one tag"):
        fleet.pytest_configure(config)


class Config(SimpleNamespace):
    """pytest's configuration, with a shard."""

    def __init__(self, *shard: str, **options: list[str]) -> None:
        options = {"--shard": [*shard], "--select": []} | options
        super().__init__(stash=pytest.Stash(), getoption=options.__getitem__)


NAMED = [
    (name, parse(name.replace("all", "100")))
    for name in ("c/950", "root@a/all", "admin@a/950", "b:2222/950", "d/all", "c/951")
]


def asked_by(*shard: str) -> set[str]:
    config: Any = Config(*shard)
    fleet.ask_about(config, NAMED)
    return {*map(str, config.stash.get(machines.TARGETS, ())), *config.stash.get(fleet.NODES, {})}


def test_shard_judges_every_target_of_its_hosts_and_no_other() -> None:
    assert asked_by() == asked_by("1/1") == {name for name, _ in NAMED}
    assert asked_by("1/2") == {"root@a/all", "admin@a/950", "c/950", "c/951"}
    assert asked_by("2/2") == {"b:2222/950", "d/all"}
    assert [len(asked_by(f"{number}/5")) for number in range(1, 6)] == [2, 1, 2, 1, 0]


def test_shard_notes_the_whole_run_with_the_targets_first_and_their_plans() -> None:
    config: Any = Config("2/2")
    fleet.ask_about(config, NAMED)
    shard = config.stash[record.SHARD]
    assert (shard.number, shard.of, shard.is_empty) == (2, 2, False)
    assert [(each.name, each.node, each.shard) for each in shard.expected] == [
        *(("c/950", "c", 1), ("admin@a/950", "admin@a", 1), ("b:2222/950", "b:2222", 2)),
        *(("c/951", "c", 1), ("root@a/all", "root@a", 1), ("d/all", "d", 2)),
    ]
    assert {each.plan for each in shard.expected} == {plan_file.find().identity}


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x", "", "1", "1/0", "-1/2", "1/2/3", "1/99999"])
def test_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(UsageError, match=f"--shard {shard}: write K/N"):
        asked_by(shard)


def test_shard_without_a_node_collects_nothing_and_one_of_no_target_is_none() -> None:
    config: Any = Config("5/5")
    fleet.ask_about(config, NAMED)
    assert fleet.pytest_collection(SimpleNamespace(config=config)) is True  # type: ignore[arg-type]
    config = Config("1/1")
    fleet.ask_about(config, [])
    assert not config.stash[record.SHARD].is_empty
    with pytest.raises(pytest.exit.Exception):
        fleet.pytest_collection(SimpleNamespace(config=config))  # type: ignore[arg-type]


@pytest.mark.parametrize("shard", ["1/2", "2/2"])
def test_selection_in_a_shard_needs_a_node_of_the_whole_run_alone(shard: str) -> None:
    config: Any = Config(shard, **{"--select": ["tag=docker"]})
    fleet.ask_about(config, [("a/950", parse("a/950")), ("b/all", parse("b/100"))])
    with pytest.raises(UsageError, match="--select is for NODE/all"):
        fleet.ask_about(config, [("a/950", parse("a/950"))])
