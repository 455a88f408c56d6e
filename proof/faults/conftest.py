"""The options of ``pytest proof/faults``, and where each fault is injected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial

import pytest

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import progress
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.target import Target
from proof.faults import catalogue, run, snapshots, target
from proof.faults.fault import CTID, Fault
from steps import machines

_FAULTS = pytest.StashKey[tuple[Fault, ...]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which faults are run, and what is asked; the gate's conftest has the target."""
    add = parser.getgroup("faults").addoption
    add("--sample", action="store_true", help="a few faults, which change with the date, as in CI")
    add(
        "--date",
        type=date.fromisoformat,
        default=datetime.now(UTC).date(),
        metavar="YYYY-MM-DD",
        help="the date that --sample is of (default: today, in UTC)",
    )
    add("--part", metavar="N/M", help="the N-th of M parts, the same on every day")
    add("--all", action="store_true", help="ask all scenarios after each fault")
    add(
        "--prepare",
        action="store_true",
        help="make the lab's snapshots that the faults start from, and run none",
    )


@pytest.hookimpl(trylast=True)  # the gate's conftest finds the target
def pytest_configure(config: pytest.Config) -> None:
    """Choose the faults; a wrong option is a usage error before anything runs."""
    snapshots.choose(config)
    faults = catalogue.FAULTS
    if not _is_lab(config):
        if not config.getoption("--allow-mutation"):
            raise pytest.UsageError(
                "faults break the target that they run on: on a target other than the lab, give "
                "--allow-mutation. The faults then run in a container of their own, which is "
                "destroyed"
            )
        if config.getoption("--prepare", default=False):
            raise pytest.UsageError("--prepare is for the lab: other targets have no snapshots")
        faults = tuple(fault for fault in faults if fault.rollback)
    if config.getoption("--sample", default=False):
        faults = catalogue.sample(str(config.getoption("--date")), faults)
    if part := config.getoption("--part", default=None):
        try:
            faults = catalogue.part(part, faults)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
    config.stash[_FAULTS] = faults


def _targets(config: pytest.Config) -> list[Target]:
    return config.stash.get(machines.TARGETS, [])


def _is_lab(config: pytest.Config) -> bool:
    return [(target.place, target.ctid) for target in _targets(config)] == [("lab", CTID)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each fault that is chosen."""
    if "fault" in metafunc.fixturenames:
        faults = metafunc.config.stash[_FAULTS]
        metafunc.parametrize("fault", faults, ids=lambda fault: fault.id)


@pytest.fixture(scope="session")
def broken(request: pytest.FixtureRequest) -> Iterator[Callable[[Fault], list[str]]]:
    """Breaks the target by a fault, asks, and returns what is not as the fault's row says."""
    config, tell = request.config, machines.teller(request.config)
    everything: bool = config.getoption("--all", default=False)
    if _is_lab(config):
        machine = Lab.open(steps=progress.told_to(tell)).up()
        if config.getoption("--prepare", default=False):
            yield partial(_prepared, lab=machine)
        else:
            yield partial(_on_lab, lab=machine, everything=everything)
        return
    if len(_targets(config)) != 1:
        raise UsageError("the faults need one target, with one container")
    faults = [item.callspec.params["fault"] for item in request.session.items]  # type: ignore[attr-defined]
    names = [name for fault in faults for name in fault.asked(everything=everything)]
    with target.container(_targets(config)[0], tuple(dict.fromkeys(names)), tell) as own:
        yield partial(own.broken, everything=everything)


def _on_lab(fault: Fault, lab: Lab, *, everything: bool) -> list[str]:
    """Restore the lab, inject a fault, ask, and return what is not as its row says."""
    with snapshots.restored(lab, fault.start, release=fault.release) as node:
        run.inject(fault, node)
        asked = fault.asked(everything=everything)
        outcomes = run.ask(asked, *run.options(fault, "--target", f"lab/{CTID}"))
        return [*run.unmarked(fault, node), *run.compare(fault, outcomes)]


def _prepared(fault: Fault, lab: Lab) -> list[str]:
    snapshots.made(lab, fault.start, release=fault.release)
    return []
