"""The container does not run, or Docker does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.problems import PROBLEMS
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor, startable
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL, NO_QUORUM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.lint.finding import Finding

BLOCKED = PROBLEMS["node-without-quorum"]
STOPPED = PROBLEMS["container-stopped"]
DOWN = PROBLEMS["docker-down"]
ABSENT = PROBLEMS["docker-absent"]
NETWORK = PROBLEMS["network-refused"]
MUTE = PROBLEMS["docker-mute"]
NEXT = PROBLEMS["next-start-fails"]
LOSES = PROBLEMS["next-start-loses"]
_FUSE = "fuse-overlayfs"
_UP = frozenset({"RUNNING", "FROZEN", "FREEZING", "THAWED"})


def judge_node(case: Case) -> Iterator[Finding]:
    """Yield that the node can start no container, and change none."""
    if case.pct and not case.node.of(IN_CONTROL)[0]:
        yield BLOCKED.here(NO_QUORUM.partition(".")[0])


def judge_container(case: Case) -> Iterator[Finding]:
    """Yield that the container does not run."""
    state = case.node.of(node_reads.lxc_state(case.ctid))
    if state not in _UP:
        how = f"pct start {case.ctid}" if case.pct else f"lxc-start -n {case.ctid}"
        said = f"container {case.ctid} does not run (LXC says {state or 'nothing'})"
        if case.start_obstacle:
            fix = f"Correct that, then start it: {how}"
            yield STOPPED.here(f"{said}, and cannot start: {case.start_obstacle}", fix=fix)
        else:
            yield STOPPED.here(said, fix=f"Start it ({how}), and ask again.")


def judge_next_start(case: Case) -> Iterator[Finding]:
    """Yield what the next start of a container that runs will fail at, or lose."""
    listed = case.node.of(apparmor.PROFILES)
    if case.node.of(node_reads.lxc_state(case.ctid)) not in _UP or listed is None:
        return
    later = container_config.at_next_stop(case.config) if case.pct else case.config
    if obstacle := startable.obstacle(later, apparmor.modes(listed)):
        yield NEXT.here(f"container {case.ctid} runs, and cannot start again: {obstacle}")
    info = case.guest.maybe(guest_reads.INFO, None)
    wanted = ("nesting", "fuse") if info is None or info.driver == _FUSE else ("nesting",)
    if lost := [*set(container_config.lost_at_next_stop(case.config, wanted)) & {*wanted}]:
        yield LOSES.here(
            f"a pending change takes {' and '.join(sorted(lost))} away at the next start of "
            f"container {case.ctid} ({case.path}, [pve:pending])"
        )


def judge_docker(case: Case) -> Iterator[Finding]:
    """Yield that Docker does not run, with its own last word."""
    unit = case.guest.of(guest_reads.UNIT)
    if unit.runs:
        yield from _mute(case)
        return
    if unit.is_absent:
        yield ABSENT.here(
            "Docker is not installed in the container: systemd knows no docker.service"
        )
        return
    heard = case.guest.maybe(messages.READ, None) is not None
    said = next(messages.said(case, DOWN, NETWORK), None) if heard else None
    last = f"; its last word: {said.line[:400]}" if said else ""
    result = "" if unit.result in {"", "success"} else f", result {unit.result}"
    yield DOWN.here(f"docker.service is {unit.active[:40]}{result}{last}")


def _mute(case: Case) -> Iterator[Finding]:
    try:
        case.guest.of(guest_reads.INFO)
    except FactError as error:
        yield MUTE.here(f"docker.service is active, but: {str(error)[:400]}")


EXAMINATIONS = (
    Examination("whether the cluster has quorum", (BLOCKED,), judge_node, (IN_CONTROL,)),
    Examination(
        "whether the container runs",
        (STOPPED,),
        judge_container,
        (node_reads.lxc_state,),
    ),
    Examination(
        "what the container's next start will do",
        (NEXT, LOSES),
        judge_next_start,
        (node_reads.lxc_state, apparmor.PROFILES),
        (guest_reads.INFO,),
    ),
    Examination(
        "whether Docker runs",
        (DOWN, ABSENT, MUTE),
        judge_docker,
        guest=(guest_reads.UNIT, guest_reads.INFO, guest_reads.CONTAINERS, messages.READ),
    ),
)
