"""What every scenario stands on: target → runtime → node and container → testinfra's hosts."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

import steps
from docker_lxc_gate.errors import RemediationError, TransportError, UsageError
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect, target_file
from docker_lxc_gate.machines.batch import Shared
from docker_lxc_gate.machines.read import is_directory
from docker_lxc_gate.machines.target import DEFAULT, EXPECTED
from docker_lxc_gate.printable import one_line
from docker_lxc_gate.verdict import evidence, report, terminal, verdicts
from remediation import applied, phoenix, plan_file
from remediation.engine.apply import apply
from remediation.provision import Provisioned, planned, provision
from steps import rollback, versions, witness
from steps.foreseen import Foresight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_bdd.parser import Step
    from testinfra.host import Host

    from docker_lxc_gate.machines.read import Read
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport
    from remediation.plan_file import PlanFile

pytest_plugins = (
    "docker_lxc_gate.verdict",
    *(f"steps.{module.name}" for module in iter_modules(steps.__path__)),
)

#: Why scenarios were left out, for the reader of the header.
_LEFT_OUT = pytest.StashKey[list[str]]()
_ASKED = pytest.StashKey["list[Target]"]()
#: What manages the containers of each target that was connected to; what closes the connections.
_OPENED = pytest.StashKey["dict[Target, Runtime]"]()
_OPEN = pytest.StashKey[ExitStack]()
#: What the scenarios of each target will ask, of a target that was connected to.
_FORESIGHT = pytest.StashKey["dict[Target, Foresight]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say what is asked about, and whether it may be changed."""
    group = parser.getgroup("gate")
    group.addoption(
        "--target",
        action="append",
        default=[],
        metavar="T",
        help=f"{EXPECTED}, or a name in the target file; examined as it stands; may be "
        f"repeated. Without it the lab is restored, the plan applied, and {DEFAULT} "
        "provisioned",
    )
    group.addoption(
        "--target-file",
        action="append",
        default=[],
        metavar="TOML",
        help="file of targets, by name; docs/targets.md has the keys",
    )
    group.addoption(
        "--plan",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="plan by which it is judged: docker-in-lxc, plain, or a TOML file (docs/plan.md)",
    )
    group.addoption(
        "--allow-mutation",
        action="store_true",
        help="also run the scenarios that change something on a target (docs/what-changes.md)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find the targets; a wrong one is a usage error before anything runs, workers included."""
    for option in ("--target-file", "--plan"):
        if (times := len(config.getoption(option))) > 1:
            raise pytest.UsageError(f"{option} is given {times} times, and takes one value")
    files = config.getoption("--target-file")
    file = Path(files[0]) if files else None  # a str till here: workers are sent no Path
    try:
        found = [target_file.find(text, file) for text in config.getoption("--target") or [None]]
        plan = {"plan": config.getoption("--plan")[0]} if config.getoption("--plan") else {}
        config.stash[_ASKED] = [structs.replace(one, **plan) for one in found]
        for each in config.stash[_ASKED]:
            plan_file.find(each.plan)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connections."""
    config.stash.get(_OPEN, ExitStack()).close()


def _opened(config: pytest.Config, target: Target, reads: Iterable[Read[Any]] = ()) -> Runtime:
    """Return what manages a target's containers, over one connection for the whole run.

    Args:
        config: holds the connection.
        target: the target.
        reads: are asked when it is connected to, since they are wanted next.
    """
    opened = config.stash.setdefault(_OPENED, {})
    stack = config.stash.setdefault(_OPEN, ExitStack())
    if target not in opened:
        layers: list[Shared] = []

        def beneath(node: Transport) -> Transport:
            layers.append(Shared(node))
            return layers[0]

        about = connect.opened(
            target,
            lab=lab_address,
            listener=evidence.of(config).record,
            tell=_tell(config),
            reads=[*reads, *versions.ON_NODE],
            beneath=beneath,
        )
        opened[target] = stack.enter_context(about)
        for shared in layers:
            foresight = Foresight(opened[target], target, shared, inside=[versions.INSIDE])
            config.stash.setdefault(_FORESIGHT, {})[target] = foresight
    return opened[target]


def pytest_bdd_before_step(request: pytest.FixtureRequest) -> None:
    """Foresee what this scenario and the read-only ones after it ask, before their fixtures do."""
    if foresight := _foresight(request.config, request.node):
        foresight.of_scenario(request.node, _target_of)


def pytest_bdd_before_step_call(request: pytest.FixtureRequest, step: Step) -> None:
    """Foresee it if the fixtures have only now connected, and let each answer serve a step once."""
    if foresight := _foresight(request.config, request.node):
        foresight.of_scenario(request.node, _target_of)
        foresight.of_step(request.node, step)


def _foresight(config: pytest.Config, item: pytest.Item) -> Foresight | None:
    target = _target_of(item)
    return config.stash.get(_FORESIGHT, {}).get(target) if target else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every scenario once a target."""
    if "target" in metafunc.fixturenames:
        found = metafunc.config.stash[_ASKED]
        metafunc.parametrize("target", found, ids=str, indirect=True, scope="session")


def _may_change(config: pytest.Config) -> bool:
    """Whether what is asked about is the lab of this very run, or the user said yes."""
    return not config.getoption("--target") or bool(config.getoption("--allow-mutation"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would change a target, unless that is allowed, and what it does not have."""
    items.sort(key=lambda item: item.get_closest_marker("before_the_plan") is None)
    said = config.stash.setdefault(_LEFT_OUT, [])
    for plan in {target.plan for target in map(_target_of, items) if target}:
        others = [i for i in items if _plan_of(i) == plan and not _is_of(i, plan_file.find(plan))]
        if _leave_out(config, items, others):
            many = evidence.counted(len(others), "scenario is", "scenarios are")
            said.append(f"{many} not of the plan {plan_file.find(plan).name}, and not asked")
    changing = [item for item in items if item.get_closest_marker("mutates")]
    if not _may_change(config) and _leave_out(config, items, changing):
        clauses = {str(mark.kwargs["id"]) for item in changing for mark in item.iter_markers("req")}
        many = evidence.counted(
            len(changing),
            "scenario that changes the target is",
            "scenarios that change the target are",
        )
        said.append(f"{many} not asked (--allow-mutation), of {', '.join(sorted(clauses))}")
    if not config.getoption("--target") or config.option.collectonly:
        return
    tagged = [item for item in items if any(map(item.get_closest_marker, _WITHOUT))]
    asked_about = dict.fromkeys(filter(None, map(_target_of, tagged)))
    without = {target: _without(config, target) for target in asked_about}
    for tag, (_, why) in _WITHOUT.items():
        those = [target for target, tags in without.items() if tag in tags]
        asked = [item for item in tagged if item.get_closest_marker(tag)]
        if _leave_out(config, items, [i for i in asked if _target_of(i) in those]):
            said += [f"{target}: {why}" for target in those]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note the plan that asks a scenario, too."""
    plan = _plan_of(item) and plan_file.find(_plan_of(item)).includes
    if plan and len(item.config.stash[_ASKED]) == 1 and _is_of(item, plan_file.find(plan)):
        item.stash[verdicts.INCLUDED] = plan


def _plan_of(item: pytest.Item) -> str:
    target = _target_of(item)
    return target.plan if target else ""


def _is_of(item: pytest.Item, plan: PlanFile) -> bool:
    """Whether a scenario is asked under a plan: a clause of it applies, and it names no other's."""
    if item.get_closest_marker("default_plan") and plan != plan_file.find():
        return False
    return any(plan.applies(str(mark.kwargs["id"])) for mark in item.iter_markers("req"))


def _leave_out(config: pytest.Config, items: list[pytest.Item], out: list[pytest.Item]) -> bool:
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
    return bool(out)


def _target_of(item: pytest.Item) -> Target | None:
    found: Target | None = item.callspec.params.get("target") if hasattr(item, "callspec") else None
    return found


#: By tag: of which targets its scenarios are not asked, and why.
_WITHOUT: dict[str, tuple[Callable[[Runtime, Target], bool], str]] = {
    "from_nothing": (
        lambda runtime, target: runtime.state(target.ctid) is not None,
        "the container exists, so its creation is not checked",
    ),
    "before_the_plan": (
        lambda _, target: not target.reserved,
        "no ctid is reserved for a container of its own, so the rollback is not checked",
    ),
    "untouched": (
        lambda runtime, _: applied.is_on(runtime.node),
        "a plan is applied on the node, so the rollback of the node's part is not checked",
    ),
    "phoenix": (
        lambda runtime, target: (
            target.repository == phoenix.REPOSITORY  # one that was written must be there
            and not runtime.node.ask(is_directory(target.repository))
        ),
        "the node has no phoenix, so its files are not checked",
    ),
}


def _without(config: pytest.Config, target: Target) -> frozenset[str]:
    """Return the tags of what cannot be asked about; if nobody can say, the scenarios will."""
    collector = evidence.of(config)
    mark = collector.mark()
    try:
        runtime = _opened(config, target, applied.READS)
        return frozenset(tag for tag, (so, _) in _WITHOUT.items() if so(runtime, target))
    except RemediationError:
        return frozenset()
    finally:
        collector.drain(mark)  # of no scenario


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Say what is not asked, so that a verdict is not taken for more than it is."""
    del items
    return [terminal.wrapped(line) for line in config.stash.get(_LEFT_OUT, [])]


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The node and the container that are asked about."""
    asked: Target = request.param
    return asked


@pytest.fixture(scope="session")
def wanted(target: Target) -> PlanFile:
    """What the scenarios of every plan ask for."""
    return plan_file.find(target.plan).asked


@pytest.fixture(scope="session")
def proved(target: Target) -> set[str]:  # noqa: ARG001 - one for each
    """What the scenario before has shown, so that the next, which asks for less, need not ask."""
    return set()


@pytest.fixture(scope="session")
def may_change(request: pytest.FixtureRequest) -> bool:
    """Whether this run may change what it asks about."""
    return _may_change(request.config)


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints a line while pytest captures, about what takes long."""
    return _tell(request.config)


@pytest.fixture(scope="session")
def runtime(target: Target, request: pytest.FixtureRequest, tell: Callable[[str], None]) -> Runtime:
    """What manages containers on the target's node; the lab of this run starts from `ready`."""
    if target.place == "lab" and not request.config.getoption("--target"):
        _fresh_lab(tell, rollback.snapshot() if _before_the_plan(request.session) else "")
    opened = _opened(request.config, target)
    shown = report.environment(request.config)
    shown |= {"Target": str(target), "Plan": plan_file.find(target.plan).identity}
    shown |= versions.of_node(opened.node)
    return opened


@pytest.fixture(scope="session")
def lab_snapshot(target: Target, request: pytest.FixtureRequest) -> Callable[[str], None] | None:
    """Takes a snapshot of the lab of this very run; None for any other target."""
    if target.place != "lab" or request.config.getoption("--target"):
        return None

    from docker_lxc_gate.lab.machine import Lab  # noqa: PLC0415 - a real host needs none of the lab's libraries

    return Lab.open().snapshot


def _before_the_plan(session: pytest.Session) -> bool:
    return any(item.get_closest_marker("before_the_plan") for item in session.items)


def _fresh_lab(tell: Callable[[str], None], better: str) -> None:
    """Restore ``ready``, or a better snapshot if the lab has it."""
    # Imported here: a real host needs none of the lab's libraries.
    from docker_lxc_gate.lab.machine import Lab  # noqa: PLC0415
    from docker_lxc_gate.lab.node import READY  # noqa: PLC0415
    from docker_lxc_gate.lab.progress import told_to  # noqa: PLC0415

    lab = Lab.open(steps=told_to(tell))
    lab.up()
    lab.restore(better if better in lab.snapshots() else READY)


def _tell(config: pytest.Config) -> Callable[[str], None]:
    """Return what prints a line while pytest captures: for what takes long before a scenario."""
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            if reporter:
                reporter.ensure_newline()
                reporter.write_line(f"    {one_line(evidence.redact(line))}")

    return tell


@pytest.fixture(scope="session")
def node(runtime: Runtime, provisioning: Provisioning) -> Transport:  # noqa: ARG001 - done first
    """The hypervisor, with the plan applied where this run may do so."""
    return runtime.node


@dataclass(frozen=True)
class Provisioning:
    """How the container came to be: not at all in this run, or as the target says."""

    existed: bool
    created: Provisioned | None = None


@pytest.fixture(scope="session")
def provisioning(
    runtime: Runtime, target: Target, request: pytest.FixtureRequest, tell: Callable[[str], None]
) -> Provisioning:
    """The plan applied and the container provisioned from nothing, where this run may do so."""
    if not request.config.getoption("--target"):
        apply(planned(runtime, target, tell))
    if runtime.state(target.ctid) is not None:
        return Provisioning(existed=True)
    if not _may_change(request.config):
        runtime.configuration(target.ctid)  # raises: there is no such container
    return Provisioning(False, provision(runtime, target, tell))


@pytest.fixture(scope="session")
def ctid(target: Target, provisioning: Provisioning) -> int:  # noqa: ARG001 - it must be there
    """The container under test, provisioned."""
    return target.ctid


@pytest.fixture(scope="session")
def container(runtime: Runtime, ctid: int, request: pytest.FixtureRequest) -> Transport:
    """The inside of the container."""
    inside, shown = runtime.inside(ctid), report.environment(request.config)
    try:
        shown |= inside.ask(versions.INSIDE)
    except TransportError:
        shown["Container"] = "not running"
    return inside


@pytest.fixture(scope="session")
def node_host(node: Transport) -> Host:
    """The hypervisor through testinfra: a second witness."""
    return witness.host(node)


@pytest.fixture(scope="session")
def container_host(container: Transport) -> Host:
    """The container through testinfra: a second witness."""
    return witness.host(container)
