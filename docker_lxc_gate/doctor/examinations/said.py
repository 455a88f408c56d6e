"""What else Docker said: messages that mean a problem by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, messages
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.examinations import (
    guest,
    id_maps,
    network,
    own_confinement,
    ownership,
    runc_fix,
    running,
)
from docker_lxc_gate.lint.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.lint.finding import Finding

_JUDGED = {
    kind
    for module in (guest, id_maps, network, own_confinement, ownership, runc_fix, running)
    for each in vars(module).values()
    if isinstance(each, Examination)
    for kind in each.kinds
}
KINDS = tuple(each for each in messages.OF_DOCKER if each not in _JUDGED)


@Examination(
    "what else Docker said",
    KINDS,
    guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.UNIT),
)
def messages_of_docker(case: Case) -> Iterator[Finding]:
    """Yield what hinders a container now; what is only in the journal may be long past."""
    errors = guest_reads.failures(case.guest.maybe(guest_reads.CONTAINERS, ()))
    found = {each.message.problem: each for each in reversed([*messages.said(case, *KINDS)])}
    for each in found.values():
        now = (
            any(each.line in error for error in errors) or not case.guest.of(guest_reads.UNIT).runs
        )
        when = "Docker says" if now else "Docker said, in its present run"
        yield each.finding(f"{when}: {each.line[:300]}", None if now else Severity.ADVICE)
