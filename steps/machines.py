"""The machines of a run, one connection a node, and the fixtures that every step may take.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from docker_lxc_gate.errors import RemediationError, TransportError
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.printable import one_line
from docker_lxc_gate.verdict import evidence, record
from docker_lxc_gate.verdict import session as gate
from docker_lxc_gate.verdict.requirements import CATALOGUE
from remediation import applied, plan_file
from remediation.engine.apply import apply
from remediation.provision import Provisioned, planned, provision
from steps import versions, witness

if TYPE_CHECKING:
    from testinfra.host import Host

    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport
    from remediation.plan_file import PlanFile

#: Those that the command line names.
TARGETS = pytest.StashKey["list[Target]"]()
#: What manages the containers of each target; the nodes by address; what closes the connections.
_OPENED = pytest.StashKey["dict[Target, Runtime]"]()
_NODES = pytest.StashKey["dict[object, Transport]"]()
_OPEN = pytest.StashKey[ExitStack]()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connections."""
    config.stash.get(_OPEN, ExitStack()).close()


def ask_about(config: pytest.Config, target: Target) -> None:
    """Ask about a target, too, by its plan; raises UsageError if there is no such plan."""
    plan_file.find(target.plan)
    config.stash.setdefault(TARGETS, []).append(target)


def choose_plans(config: pytest.Config, *, asking: bool) -> None:
    """Note the plan of each target; one that names none gets the one that counts there.

    Unless ``asking`` the node is allowed, that is the default one. Say which it is, and why.
    """
    targets = config.stash[TARGETS]
    for number, target in enumerate(targets):
        chosen, why = target, ""
        if asking and target.plan is None:
            chosen, why = _chosen(config, target)
            targets[number] = chosen
        plan, about = plan_file.find(chosen.plan), record.about(config, str(target))
        about.plan, about.clauses = plan.identity, tuple(filter(plan.applies, CATALOGUE))
        about.because = one_line(evidence.redact(why))
        if why:
            teller(config)(f"{target} is judged by the plan {plan.name}, because {why}")


def _chosen(config: pytest.Config, target: Target) -> tuple[Target, str]:
    """Return a target with its plan, and why it is that one; of one that is out of reach, none."""
    try:
        with evidence.of_no_scenario(config):
            name, why = applied.plan_of(opened(config, target).node, target)
    except TransportError:
        return target, ""
    except RemediationError as error:
        name, why = "plain", str(error)
        gate.not_judged(config, f"{target} by a plan of its own: {error}")
    chosen = structs.replace(target, plan=name)
    runtimes = config.stash.get(_OPENED, {})
    runtimes |= {chosen: runtimes[target]} if target in runtimes else {}
    return chosen, why


def opened(config: pytest.Config, target: Target) -> Runtime:
    """Return what manages a target's containers, over one connection a node for the whole run."""
    runtimes = config.stash.setdefault(_OPENED, {})
    if target not in runtimes:
        nodes, key = config.stash.setdefault(_NODES, {}), (target.place, target.address)
        if key not in nodes:
            reached = connect.connected(target, lab=lab_address, tell=teller(config))
            nodes[key] = config.stash.setdefault(_OPEN, ExitStack()).enter_context(reached)
        listener = evidence.of(config).record
        runtimes[target] = connect.runtime_on(nodes[key], target, listener=listener)
    return runtimes[target]


def teller(config: pytest.Config) -> Callable[[str], None]:
    """Return what prints a line while pytest captures: for what takes long before a scenario."""
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            if reporter:
                reporter.ensure_newline()
                reporter.write_line(f"    {one_line(evidence.redact(line))}")

    return tell


def target_of(item: pytest.Item) -> Target | None:
    """Return the target of a scenario; None for other tests."""
    params: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    return params.get("target")


def changes_allowed(config: pytest.Config) -> bool:
    """Whether what is asked about is the lab of this very run, or the user said yes."""
    return not config.getoption("--target") or bool(config.getoption("--allow-mutation"))


@pytest.fixture(scope="session")
def wanted(target: Target) -> PlanFile:
    """What the scenarios of every plan ask for."""
    return plan_file.find(target.plan).asked


@pytest.fixture(scope="session")
def may_change(request: pytest.FixtureRequest) -> bool:
    """Whether this run may change what it asks about."""
    return changes_allowed(request.config)


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints a line while pytest captures, about what takes long."""
    return teller(request.config)


@pytest.fixture(scope="session")
def own_lab(target: Target, request: pytest.FixtureRequest) -> bool:
    """Whether the target is the lab of this very run."""
    return target.place == "lab" and not request.config.getoption("--target")


@pytest.fixture(scope="session")
def runtime(
    target: Target, request: pytest.FixtureRequest, tell: Callable[[str], None], own_lab: bool
) -> Runtime:
    """What manages containers on the target's node; the lab of this run starts from `ready`."""
    if own_lab:
        _fresh_lab(tell)
    manager = opened(request.config, target)
    about = record.about(request.config, str(target))
    about.host_key = manager.node.host_key
    about.versions |= versions.of_node(manager.node)
    return manager


def _fresh_lab(tell: Callable[[str], None]) -> None:
    """Restore ``ready``."""
    # Imported here: a real host needs none of the lab's libraries.
    from docker_lxc_gate.lab.machine import Lab  # noqa: PLC0415
    from docker_lxc_gate.lab.progress import told_to  # noqa: PLC0415

    lab = Lab.open(steps=told_to(tell))
    lab.up()
    lab.restore()


@pytest.fixture(scope="session")
def node(runtime: Runtime, provisioning: Provisioned | None) -> Transport:  # noqa: ARG001 - done first
    """The hypervisor, with the plan applied where this run may do so."""
    return runtime.node


@pytest.fixture(scope="session")
def provisioning(
    runtime: Runtime, target: Target, request: pytest.FixtureRequest, tell: Callable[[str], None]
) -> Provisioned | None:
    """The plan applied and the container provisioned from nothing, where this run may do so.

    None: the container existed before.
    """
    if not request.config.getoption("--target"):
        apply(planned(runtime, target, tell))
    if runtime.state(target.ctid) is not None:
        return None
    if not changes_allowed(request.config):
        runtime.configuration(target.ctid)  # raises: there is no such container
    return provision(runtime, target, tell)


@pytest.fixture(scope="session")
def ctid(target: Target, provisioning: Provisioned | None) -> int:  # noqa: ARG001 - it must be there
    """The container under test, provisioned."""
    return target.ctid


@pytest.fixture(scope="session")
def container(
    runtime: Runtime, ctid: int, target: Target, request: pytest.FixtureRequest
) -> Transport:
    """The inside of the container."""
    inside, shown = runtime.inside(ctid), record.about(request.config, str(target)).versions
    try:
        shown |= inside.ask(versions.INSIDE)
        if kind := inside.ask(versions.ROOT).text.strip():
            shown["Root file system"] = kind
    except TransportError:
        shown["Container"] = "not running"
    return inside


@pytest.fixture(scope="session")
def node_host(node: Transport) -> Host:
    """The hypervisor through testinfra: a second witness."""
    return witness.host(node)


@pytest.fixture(scope="session")
def host(container: Transport) -> Host:
    """The container through testinfra: a second witness."""
    return witness.host(container)
