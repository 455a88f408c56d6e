"""NODE/all: what was listed and not judged is a problem of the run."""

from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import Unreachable, UsageError
from docker_lxc_gate.machines import fleet as listing
from docker_lxc_gate.machines.fleet import Listing
from docker_lxc_gate.machines.target import parse
from docker_lxc_gate.verdict import evidence, record
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


def test_ask_about_without_a_node_to_select_of_is_refused() -> None:
    config: Any = SimpleNamespace(stash=pytest.Stash(), getoption=lambda _: ["tag=docker"])
    with pytest.raises(UsageError, match="--select is for NODE/all"):
        fleet.ask_about(config, [("c/950", parse("c/950"))])
