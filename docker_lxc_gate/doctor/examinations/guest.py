"""The guest's own units: those that fail without nesting, or because a new mount call is refused.

Sources: systemd.exec(5) on exit codes (226 NAMESPACE, 243 CREDENTIALS, 218 CAPABILITIES), pct(1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import here
from docker_lxc_gate.formats.container_config import given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.lint.finding import Finding

_CODES = {226: "NAMESPACE", 243: "CREDENTIALS"}
_MANY = 5


@Examination("whether the container has nesting", ("nesting-off",))
def nesting(case: Case) -> Iterator[Finding]:
    """Yield that nesting is off; plain LXC has no such option, and its profile decides."""
    features = given(case.config.current().get("features", ""))
    if case.pct and "nesting" not in features:
        yield here("nesting-off", f"{case.path} has no nesting=1 in features")


@Examination(
    "whether units of the guest are refused",
    ("units-refused",),
    guest=(guest_reads.GUEST, guest_reads.FAILED),
)
def units(case: Case) -> Iterator[Finding]:
    """Yield the units that failed before their program ran."""
    if case.guest.of(guest_reads.GUEST) == "running":
        return
    failed = [each for each in case.guest.of(guest_reads.FAILED) if each.code in _CODES]
    if failed:
        named = ", ".join(f"{each.name} ({_CODES[each.code]})" for each in failed[:_MANY])
        more = f" and {len(failed) - _MANY} more" if len(failed) > _MANY else ""
        yield here("units-refused", f"{len(failed)} failed: {named}{more}")
