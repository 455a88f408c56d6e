"""What AppArmor refused in the last hour, as far as a record says that it was this container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import here
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.denial.denial_answers import wanted, who

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.lint.finding import Finding

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
