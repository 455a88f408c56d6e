"""The container does not run, or Docker does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doctor import guest_reads, node_reads
from doctor.case import Examination
from lint.finding import Problem, Severity
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.case import Case
    from lint.finding import Finding

STOPPED = Problem(
    "container-stopped",
    Severity.TROUBLE,
    "the container does not run",
    "Nothing in it can be asked: most of what follows could not be seen.",
    "Start it, and ask again. If doctor sees what keeps it from starting, it names that.",
)
DOWN = Problem(
    "docker-down",
    Severity.TROUBLE,
    "Docker does not run in the container",
    "What only a Docker that runs can tell was not asked: a question would start it.",
    "In the container: systemctl start docker; journalctl -u docker says why it does not.",
)
MUTE = Problem(
    "docker-mute",
    Severity.TROUBLE,
    "Docker runs, and does not answer",
    "docker.service is active, but docker info fails. Docker may hang, or its client is missing: "
    "Debian keeps it in the package docker-cli.",
    "In the container: docker info shows the error; journalctl -u docker says what Docker waits "
    "for. Without a client: apt-get install docker-cli.",
)
SAYS = guest_reads.messages(
    "failed to start daemon|unable to configure the Docker daemon|level=fatal"
)
_UP = frozenset({"RUNNING", "FROZEN", "FREEZING", "THAWED"})


def judge_container(case: Case) -> Iterator[Finding]:
    """Yield that the container does not run."""
    state = case.node.of(node_reads.lxc_state(case.ctid))
    if state not in _UP:
        how = f"pct start {case.ctid}" if case.pct else f"lxc-start -n {case.ctid}"
        said = f"container {case.ctid} does not run (LXC says {state or 'nothing'})"
        if case.start_obstacle:
            mend = f"Correct that, then start it: {how}"
            yield STOPPED.here(f"{said}, and cannot start: {case.start_obstacle}", mend=mend)
        else:
            yield STOPPED.here(said, mend=f"Start it ({how}), and ask again.")


def judge_docker(case: Case) -> Iterator[Finding]:
    """Yield that Docker does not run, with its own last word."""
    unit = case.guest.of(guest_reads.UNIT)
    if unit.runs:
        yield from _mute(case)
        return
    if unit.is_absent:
        yield DOWN.here("Docker is not installed in the container: systemd knows no docker.service")
        return
    said = case.guest.maybe(SAYS, ())
    last = f"; its last word: {said[-1].strip()[:400]}" if said else ""
    result = "" if unit.result in {"", "success"} else f", result {unit.result}"
    yield DOWN.here(f"docker.service is {unit.active[:40]}{result}{last}")


def _mute(case: Case) -> Iterator[Finding]:
    try:
        case.guest.of(guest_reads.INFO)
    except FactError as error:
        yield MUTE.here(f"docker.service is active, but: {str(error)[:400]}")


EXAMINATIONS = (
    Examination(
        "whether the container runs",
        (STOPPED,),
        judge_container,
        (node_reads.lxc_state,),
    ),
    Examination(
        "whether Docker runs",
        (DOWN, MUTE),
        judge_docker,
        guest=(guest_reads.UNIT, guest_reads.INFO, SAYS),
    ),
)
