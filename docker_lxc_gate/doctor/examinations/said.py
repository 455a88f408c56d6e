"""What logs say: messages of Docker that mean a problem by themselves, and AppArmor's denials.

Of the denials those of the last hour, as far as a record says that it was this container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, messages
from docker_lxc_gate.doctor.case import Case, Examination, examinations, here
from docker_lxc_gate.doctor.examinations import (
    confinement,
    id_maps,
    network,
    ownership,
    running,
    settings,
)
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.denial.denial_answers import wanted, who
from docker_lxc_gate.lint.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Their examinations judge some of Docker's messages; the others are judged here.
JUDGING = (confinement, id_maps, network, ownership, running, settings)
_JUDGED = {kind for each in examinations(*JUDGING) for kind in each.kinds}
KINDS = tuple(each for each in messages.OF_DOCKER if each not in _JUDGED)


@Examination(
    "what else Docker said", KINDS, guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.UNIT)
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


#: How far back the log is read (seconds).
HOUR = 3600.0


@Examination("what AppArmor refused in the last hour", ("denied-lately",))
def lately(case: Case) -> Iterator[Finding]:
    """Yield the most frequent refusal, and how many there were."""
    kinds = [each for each in case.denied if not each.merged]
    if kinds:
        first = kinds[0]
        count = sum(each.count for each in kinds)
        times = "once" if count == 1 else f"{count} times"
        words = (
            f"{who(first.programs)} wanted to {wanted(first.denial.fields, several=first.several)}"
        )
        yield here(
            "denied-lately",
            f"AppArmor refused the container something {times}, most often: {words}",
        )
    if case.unread:
        raise FactError(case.unread)
