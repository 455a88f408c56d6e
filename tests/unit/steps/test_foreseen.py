"""What is foreseen: the reads of scenarios that change nothing, up to one that does."""

from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.facts.confinement import id_maps
from docker_lxc_gate.machines.batch import Shared
from docker_lxc_gate.machines.read import unparsed
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.target import Target
from steps import docker, foreseen
from steps.docker import docker_runs
from steps.foreseen import Foresight
from steps.target import no_unit_failed
from steps.witness import host
from tests.doubles.nodes.behind_shell import Answer
from tests.doubles.nodes.healthy import PID, Healthy
from tests.unit.steps.test_sentences import definitions, sentences

World = tuple[Healthy, Shared, Foresight]
TARGET, OTHER = Target("pve1", 950), Target("pve2", 950)
CONFIG = "/etc/pve/lxc/950.conf"


class Item:
    """A collected scenario of some sentences."""

    def __init__(self, *thens: str, mutates: bool = False, target: Target = TARGET) -> None:
        self.steps = [SimpleNamespace(type="then", name=name) for name in thens]
        self.mutates, self.target = mutates, target
        self.session = SimpleNamespace(items=[self])

    def get_closest_marker(self, name: str) -> str | None:
        return name if self.mutates and name == "mutates" else None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    definitions()  # imports them all
    monkeypatch.setattr(foreseen, "scenario_of", lambda item: item)
    node = Healthy(name="pve1")
    shared = Shared(node)
    return node, shared, Foresight(Pct(shared), TARGET, shared, inside=[unparsed("id", "-u")])


def together(*items: Item) -> Any:
    for each in items:
        each.session.items = list(items)
    return items[0]


def of(item: Any) -> Target:
    found: Target = item.target
    return found


ENFORCED = 'the kernel enforces the profile "lxc-phoenix-v2"'
UNPRIVILEGED = "the container is configured as unprivileged"
DRIVER = 'Docker\'s storage driver is "fuse-overlayfs"'
MAPPED = "root in the container is an ordinary user on the node"
PROFILES = "/sys/kernel/security/apparmor/profiles"


def test_read_only_scenarios_are_asked_together_up_to_one_that_mutates(world: World) -> None:
    node, shared, foresight = world
    first = together(
        Item(ENFORCED),
        Item(UNPRIVILEGED),
        Item("provisioning succeeded", mutates=True),
        Item(MAPPED),
        Item(ENFORCED, target=OTHER),
    )
    foresight.of_scenario(first, of)
    for path in (PROFILES, CONFIG):
        assert shared.read(path)
    (trip,) = node.trips
    assert CONFIG in trip
    shared.ask(id_maps(PID))
    assert len(node.trips) == 2


def test_reads_of_the_first_process_are_asked_once_its_pid_is_known(world: World) -> None:
    node, shared, foresight = world
    foresight.of_scenario(together(Item(MAPPED)), of)
    assert len(node.trips) == 1, "the pid alone"
    assert all(shared.ask(id_maps(PID)))
    assert len(node.trips) == 2


@pytest.mark.parametrize("runs", [True, False])
def test_docker_info_is_asked_with_the_others_where_dockerd_runs(world: World, runs: bool) -> None:
    """Else it might start Docker before it was asked whether that runs."""
    node, shared, foresight = world
    if not runs:
        node.says = {"perl -MErrno": "", **node.says}
    container = Pct(shared).inside(950)
    foresight.of_scenario(together(Item("Docker is running and starts at boot", DRIVER)), of)
    assert container.ask(docker._UNIT).ok
    assert container.ask(docker._INFO).ok
    assert node.starts == (1 if runs else 2)


def test_answer_about_the_node_is_not_foreseen_again_for_another_target(world: World) -> None:
    node, _, _ = world
    memory: Any = {}
    for ctid in (950, 951):
        shared = Shared(node, memory)
        target = Target("pve1", ctid)
        item: Any = together(Item(ENFORCED, UNPRIVILEGED, target=target))
        foresight = Foresight(Pct(shared), target, shared)
        for step in item.steps:
            foresight.of_scenario(item, of)
            foresight.of_step(item, step)
            shared.read(PROFILES if step.name == ENFORCED else f"/etc/pve/lxc/{ctid}.conf")
    assert sum(PROFILES in trip for trip in node.trips) == 1


def test_scenario_that_changes_something_foresees_one_step_at_a_time(world: World) -> None:
    node, shared, foresight = world
    item: Any = together(Item(ENFORCED, UNPRIVILEGED, mutates=True))
    foresight.of_scenario(item, of)
    step: Any = item.steps[0]
    foresight.of_step(item, step)
    assert shared.read(PROFILES)
    (trip,) = node.trips
    assert CONFIG not in trip


def test_scenario_is_foreseen_once_and_the_next_one_anew(world: World) -> None:
    node, shared, foresight = world
    first = together(Item(ENFORCED), Item(UNPRIVILEGED))
    for item in first.session.items:
        for _ in range(2):
            foresight.of_scenario(item, of)
            shared.begin()
            assert shared.read(CONFIG)
    assert len(node.trips) == 1
    shared.run(["true"])
    shared.begin()
    assert shared.read(CONFIG)
    assert PROFILES not in node.trips[-1], "a scenario that is over is asked for again"


def test_answers_are_forgotten_after_a_scenario_of_another_target(world: World) -> None:
    """The other target's container may be on the same node, and its scenario may change that."""
    node, shared, foresight = world
    first = together(
        Item(UNPRIVILEGED), Item(UNPRIVILEGED, target=OTHER, mutates=True), Item(UNPRIVILEGED)
    )
    foresight.of_scenario(first, of)
    before = shared.read(CONFIG)
    node.files[CONFIG] = b"unprivileged: 0\n"
    foresight.of_scenario(first.session.items[2], of)
    assert shared.read(CONFIG) == b"unprivileged: 0\n" != before


def test_docker_that_starts_while_the_end_of_the_boot_is_waited_for_runs(world: World) -> None:
    """As where somebody has just started the container: Docker starts last."""
    node, shared, foresight = world
    booted = False

    def boots(words: list[str]) -> Answer:
        nonlocal booted
        booted |= "--wait" in words
        return "running\n" if booted else (1, "starting\n", "")

    def is_active(_: list[str]) -> Answer:
        return "active\n" if booted else (3, "activating\n", "")

    node.says = {
        "sh -c 'systemctl is-active docker'": is_active,
        **node.says,
        "systemctl is-system-running": boots,
    }
    runs = "Docker is running and starts at boot"
    first = together(Item(runs), Item(runs))
    foresight.of_scenario(first, of)
    runtime = Pct(shared)
    container = runtime.inside(950)
    assert not host(container).service("docker").is_running
    shared.begin()
    no_unit_failed(runtime, container, 950)
    foresight.of_scenario(first.session.items[1], of)
    docker_runs(host(container), set())


def test_unreachable_node_is_left_to_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shared, foresight = world
    monkeypatch.setattr(shared, "look", unreachable)
    foresight.of_scenario(together(Item(MAPPED)), of)


def unreachable(*_: object, **__: object) -> None:
    raise TransportError("no route to host")


def test_declarations_are_of_sentences_that_features_have() -> None:
    found = sum(len(foreseen._definitions(kind, name)) for _, kind, name in sentences())
    assert found > 30
