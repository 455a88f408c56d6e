"""``--target NODE/all``: each container of a node that has Docker, listed before and after the run.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import RemediationError, UsageError
from docker_lxc_gate.machines import fleet
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.verdict import evidence, record
from docker_lxc_gate.verdict import session as gate
from remediation import plan_file
from steps import machines

#: By name as the command line has it, any target on the node.
NODES = pytest.StashKey["dict[str, Target]"]()
_TAG = "tag="


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--select`` and ``--shard``."""
    group = parser.getgroup("gate")
    group.addoption(
        "--select",
        action="append",
        default=[],
        metavar="tag=TAG",
        help="of NODE/all: containers with this tag of Proxmox's",
    )
    group.addoption(
        "--shard", action="append", default=[], metavar="K/N", help="judge the K-th of N parts"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse another selection than one tag."""
    given = config.getoption("--select")
    if len(given) > 1 or any(each == _TAG or not each.startswith(_TAG) for each in given):
        raise pytest.UsageError("--select: write one tag, as --select tag=docker")


def ask_about(config: pytest.Config, named: Sequence[tuple[str, Target]]) -> None:
    """Ask about the targets and the nodes of this run's shard, by their names on the command line.

    Raises UsageError if one is named twice, there is no such shard or plan, or no node to select
    of.
    """
    names = [name for name, _ in named]
    if again := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"--target: {', '.join(sorted(again))} is named twice")
    if config.getoption("--select") and not any(name.endswith(fleet.ALL) for name in names):
        raise UsageError("--select is for NODE/all: name a target of that form")
    shard = [*config.getoption("--shard"), "1/1"][0]
    match = patterns.fullmatch(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", shard)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard {shard}: write K/N, with K from 1 to N, as --shard 2/3")
    number, of = int(match[1]), int(match[2])
    # Round robin, not a hash: no shard has two nodes more than another, or none without need.
    hosts = enumerate(sorted({target.host for _, target in named}))
    share = {host: at % of + 1 for at, host in hosts}
    if config.getoption("--shard"):
        whole = []
        for name, target in sorted(named, key=lambda each: each[0].endswith(fleet.ALL)):
            plan, node = plan_file.find(target.plan).identity, str(target).rpartition("/")[0]
            whole.append(record.Expected(name, node, plan, share[target.host]))
        config.stash[record.SHARD] = record.Shard(number, of, tuple(whole))
    for name, target in (each for each in named if share[each[1].host] == number):
        if name.endswith(fleet.ALL):
            config.stash.setdefault(NODES, {})[name] = target
        else:
            machines.ask_about(config, target)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool | None:
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
    if (shard := config.stash.get(record.SHARD, None)) and shard.is_empty:
        return True
    if not config.stash.get(machines.TARGETS, ()):
        pytest.exit("no container was listed to ask about", returncode=3)
    return None


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
    collector = evidence.of(config)
    mark = collector.mark()
    try:
        return fleet.listed(machines.opened(config, node), name, tag)
    except RemediationError as error:
        gate.not_judged(config, f"{name}: {error}")
        return None
    finally:
        collector.drain(mark)  # of no scenario
