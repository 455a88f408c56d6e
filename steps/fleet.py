"""``--target NODE/all``: each container of a node that has Docker, listed before and after the run.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from docker_lxc_gate.errors import RemediationError, UsageError
from docker_lxc_gate.machines import fleet
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.verdict import evidence, record
from docker_lxc_gate.verdict import session as gate
from steps import machines

#: By name as the command line has it, any target on the node.
NODES = pytest.StashKey["dict[str, Target]"]()
_TAG = "tag="


def pytest_configure(config: pytest.Config) -> None:
    """Refuse another selection than one tag."""
    given = config.getoption("--select")
    if len(given) > 1 or any(tag == _TAG or not tag.startswith(_TAG) for tag in given):
        raise pytest.UsageError("--select: write one tag, as --select tag=docker")


def ask_about(config: pytest.Config, named: Sequence[tuple[str, Target]]) -> None:
    """Ask about targets and nodes, by their names on the command line.

    Raises UsageError if one is named twice, or there is no node to select of.
    """
    names = [name for name, _ in named]
    if again := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"--target: {', '.join(sorted(again))} is named twice")
    if config.getoption("--select") and not any(name.endswith(fleet.ALL) for name in names):
        raise UsageError("--select is for NODE/all: name a target of that form")
    for name, target in named:
        if name.endswith(fleet.ALL):
            config.stash.setdefault(NODES, {})[name] = target
        else:
            machines.ask_about(config, target)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Ask each node for its containers; one that does not answer stops no other."""
    config, nodes = session.config, session.config.stash.get(NODES, {})
    listed = config.stash.setdefault(record.NODES, {})
    for name, node in nodes.items():
        if listing := _listing(config, name, node):
            listed[name] = listing
            if not listing.asked:
                gate.not_judged(config, f"{name}: there is no container to ask about")
            named = {*map(str, config.stash.get(machines.TARGETS, ()))}
            for target in fleet.targets(node, listing):
                if str(target) not in named:
                    machines.ask_about(config, target)
    if not config.stash.get(machines.TARGETS, ()):
        pytest.exit("no container was listed to ask about", returncode=3)
    asking = bool(config.getoption("--target")) and not config.option.collectonly
    machines.choose_plans(config, asking=asking)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """List again, unless by Ctrl-C: a container that came or went was not judged."""
    config = session.config
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        return
    listed = config.stash.get(record.NODES, {})
    for name, node in config.stash.get(NODES, {}).items():
        if name in listed and (after := _listing(config, name, node)):
            for change in listed[name].changes(after):
                gate.not_judged(config, change)


def _listing(config: pytest.Config, name: str, node: Target) -> fleet.Listing | None:
    """Return what a node has, or None: then the run has a problem of its own."""
    tag = "".join(config.getoption("--select")).removeprefix(_TAG)
    try:
        with evidence.of_no_scenario(config):
            return fleet.listed(machines.opened(config, node), name, tag)
    except RemediationError as error:
        gate.not_judged(config, f"{name}: {error}")
        return None
