"""``--target NODE/all``: each container of a node that has Docker, listed before and after the run.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines import fleet
from docker_lxc_gate.verdict import record
from docker_lxc_gate.verdict import session as gate
from steps import machines

if TYPE_CHECKING:
    from docker_lxc_gate.machines.target import Target

#: By name as the command line has it, any target on the node, and what was listed there.
NODES = pytest.StashKey["dict[str, Target]"]()
_LISTED = pytest.StashKey["dict[str, fleet.Listing]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--select``."""
    parser.getgroup("gate").addoption(
        "--select", metavar="tag=TAG", help="of NODE/all: containers with this tag of Proxmox's"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Ask each node for its containers; one that does not answer stops no other."""
    config, listed = session.config, {}
    for name, node in config.stash.get(NODES, {}).items():
        if listing := _listing(config, name, node):
            listed[name] = listing
            named = {*map(str, config.stash.get(machines.TARGETS, ()))}
            for target in fleet.targets(node, listing):
                if str(target) not in named:
                    machines.ask_about(config, target)
    config.stash[_LISTED] = listed
    if not config.stash.get(machines.TARGETS, ()):
        pytest.exit("no container was found to ask about", returncode=3)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """List again: a container that came or went was not judged."""
    config = session.config
    for name, before in config.stash.get(_LISTED, {}).items():
        if after := _listing(config, name, config.stash[NODES][name]):
            for change in before.changes(after):
                gate.not_judged(config, change)


def _listing(config: pytest.Config, name: str, node: Target) -> fleet.Listing | None:
    """Return what a node has, or None: then the run has a problem of its own."""
    tag = (config.getoption("--select") or "").removeprefix("tag=")
    try:
        listing = fleet.listed(machines.opened(config, node), name, tag)
    except RemediationError as error:
        gate.not_judged(config, f"{name}: {error}")
        return None
    config.stash.setdefault(record.NODES, {})[name] = listing
    return listing
