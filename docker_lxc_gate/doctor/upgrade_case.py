"""A container before an upgrade: what is installed, what would be, and what else was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from docker_lxc_gate.doctor import node_reads, upgrade_reads
from docker_lxc_gate.doctor.upgrade_pairs import KERNEL
from docker_lxc_gate.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker_lxc_gate.doctor.answers import Answers
    from docker_lxc_gate.doctor.upgrade_pairs import Where
    from docker_lxc_gate.formats.container_config import ContainerConfig

#: By machine, the version of each package of the table that is there.
State: TypeAlias = "Mapping[Where, Mapping[str, str]]"


@dataclass(frozen=True)
class Container:
    """One container and its node before an upgrade.

    Attributes:
        ctid: the container.
        config: its configuration as it is written.
        node: the node's answers.
        guest: the container's own answers.
        before: what is installed; a machine that could not be asked is not in it.
        after: what would be installed, with the same machines.
    """

    ctid: int
    config: ContainerConfig
    node: Answers
    guest: Answers
    before: State
    after: State


def states(answers: Answers, where: Where) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is installed on a machine, and what would be after the upgrade.

    The node's kernel is the running one, and then the newest: it runs after a reboot.

    Raises:
        RemediationError: one of the two could not be read.
    """
    installed, plan = answers.of(upgrade_reads.INSTALLED), answers.of(upgrade_reads.PLAN)
    before = {name: each for name, each in installed.items() if name in upgrade_reads.WATCHED}
    after = dict(before)
    for step in plan:
        if step.package not in upgrade_reads.WATCHED:
            continue
        if step.version:
            after[step.package] = step.version
        else:
            after.pop(step.package, None)
    if where == "node":
        running = answers.of(node_reads.VERSIONS).get("kernel", "")
        if not running:
            raise FactError("the node does not say which kernel it runs")
        removed = {step.package for step in plan if not step.version}
        names = [*(installed.keys() - removed), *(step.package for step in plan if step.version)]
        releases = [each for each in map(upgrade_reads.release, names) if each]
        before[KERNEL] = running
        after[KERNEL] = upgrade_reads.newest([running, *releases])
    return before, after
