"""From a container to its diagnosis: ask the node, ask the container, judge.

Four round trips: the configuration, what the node knows, what the container says, what was denied.
A container that does not run, or is frozen, is not asked: its programs would not answer.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.doctor import guest_reads
from docker_lxc_gate.doctor.answers import ask
from docker_lxc_gate.doctor.case import FOLLOWS, PROBLEMS, Case, Diagnosis, Unseen
from docker_lxc_gate.doctor.examinations import (
    confinement,
    id_maps,
    network,
    ownership,
    running,
    said,
    settings,
    storage,
)
from docker_lxc_gate.doctor.first_look import ask_inside, first_look
from docker_lxc_gate.errors import Dropped, RemediationError, Unreachable
from docker_lxc_gate.facts import startable
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.lint.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docker_lxc_gate.doctor.case import Examination
    from docker_lxc_gate.facts.denial.denial_groups import Group
    from docker_lxc_gate.lint.finding import Finding
    from docker_lxc_gate.machines.read import Read
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport

#: Most likely first, as counted over issue trackers; what is wrong with all comes before.
EXAMINATIONS = (
    running.frozen,
    settings.configuration,
    settings.daemon,
    settings.nesting,
    confinement.reopening,
    id_maps.unmapped,
    id_maps.above,
    confinement.profiles,
    network.modules,
    network.sysctls,
    network.tun,
    ownership.devices,
    ownership.bind_mounts,
    ownership.volumes,
    settings.units,
    running.quorum,
    running.state,
    running.next_start,
    running.docker,
    said.messages_of_docker,
    said.lately,
    storage.store,
    storage.data,
    storage.other_drivers,
    confinement.confinement,
    confinement.loose,
    running.backup,
)
_ORDER = tuple(Severity)


def examine(runtime: Runtime, ctid: int) -> Diagnosis:
    """Return what is wrong with a container and its Docker. Changes nothing.

    Args:
        runtime: manages the container.
        ctid: the container.

    Raises:
        FactError: there is no such container on the node.
        TransportError: the node cannot be reached.
    """
    look = first_look(runtime, ctid)
    more = [each.by_config(look.config) for each in EXAMINATIONS]
    on_node: list[Read[Any]] = [
        read(ctid) if callable(read) else read for each in EXAMINATIONS for read in each.node
    ]
    on_node += [read for each, _ in more for read in each]
    node = ask(runtime.node, on_node)
    inside: list[Read[Any]] = [read for each in EXAMINATIONS for read in each.guest]
    inside += [read for _, each in more for read in each]
    answers = ask_inside(runtime, ctid, look, inside)
    obstacle = startable.start_obstacle(runtime, ctid) if look.silent else ""
    lately, unread = _denied(runtime.node, ctid)
    return diagnose(
        Case(
            ctid,
            look.config,
            look.content,
            node,
            answers,
            pct=runtime.kind == "pct",
            denied=lately,
            unread=unread,
            start_obstacle=obstacle,
        )
    )


def _denied(node: Transport, ctid: int) -> tuple[tuple[Group, ...], str]:
    """Return what AppArmor refused a container lately, and why there may be more."""
    since = time.time() - said.HOUR
    try:
        log = denial_log.read(node, since)
    except (Dropped, Unreachable):
        raise
    except RemediationError as error:
        return (), str(error)
    tally = Tally(log.owner, since, by_process=True)
    tally.count(log.lines)
    groups = (each for each in tally.groups() if each.readable and each.owner)
    return tuple(each for each in groups if each.owner and each.owner.container == ctid), log.unread


def diagnose(case: Case, examinations: Iterable[Examination] = EXAMINATIONS) -> Diagnosis:
    """Judge what was read, the most likely cause first.

    Args:
        case: what was read.
        examinations: the questions, most likely first.
    """
    found: list[Finding] = []
    unseen: list[Unseen] = []
    down = _is_down(case)
    for each in examinations:
        if each.of_docker and down:
            continue  # that Docker does not run is a problem of its own
        try:
            found.extend(each.judge(case))
        except RemediationError as error:
            matters = any(PROBLEMS[kind].severity is not Severity.ADVICE for kind in each.kinds)
            unseen.append(Unseen(each.what, str(error), matters))
    ids = {each.id for each in found}
    causes = [each for each in found if not ids & FOLLOWS.get(each.id, frozenset())]
    ordered = sorted(dict.fromkeys(causes), key=lambda each: _ORDER.index(each.severity))
    named = (replace(each, fix=each.fix.replace("CTID", str(case.ctid))) for each in ordered)
    return Diagnosis(tuple(named), tuple(unseen))


def _is_down(case: Case) -> bool:
    try:
        return not case.guest.of(guest_reads.UNIT).runs
    except RemediationError:
        return False
