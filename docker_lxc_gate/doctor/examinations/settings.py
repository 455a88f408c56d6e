"""What lint finds in the container's configuration and in daemon.json, and what nesting is for.

Without nesting, or where a new mount call is refused, units of the guest fail. Sources:
systemd.exec(5) on exit codes (226 NAMESPACE, 243 CREDENTIALS, 218 CAPABILITIES), pct(1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.case import Case, Examination, here
from docker_lxc_gate.formats.container_config import given
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Finding, Kind, Severity, Source
from docker_lxc_gate.printable import listed

if TYPE_CHECKING:
    from collections.abc import Iterator


#: More of one file than anybody reads: a guest may write one for that. Of one, so much is shown
#: (characters).
_MANY, _LONGEST = 10, 400


@Examination("what is wrong in the container's configuration", ("lint",))
def configuration(case: Case) -> Iterator[Finding]:
    """Yield what is wrong in the container's configuration."""
    kind = Kind.CONTAINER if case.pct else Kind.LXC
    known = frozenset(_known(case))
    for each in _found(Source(case.config.path, case.content, kind)):
        if each.id not in known:
            yield each


def _known(case: Case) -> Iterator[str]:
    """Yield what the kernel itself was asked, which knows better than a file."""
    if case.node.maybe(node_reads.id_maps(case.ctid), None) is not None:
        yield "container-idmap-hole"
    confined = case.node.maybe(node_reads.confined(case.ctid), None)
    if confined is not None and confined.confines_nothing:
        yield "container-unconfined"


@Examination(
    "what is wrong in Docker's settings", ("lint",), guest=(guest_reads.SETTINGS, guest_reads.UNIT)
)
def daemon(case: Case) -> Iterator[Finding]:
    """Yield what is wrong in Docker's settings.

    A Docker that runs may be newer than lint's list of keys, so an unknown one is advice then.
    """
    content = case.guest.of(guest_reads.SETTINGS)
    if content is None:
        return
    unit = case.guest.maybe(guest_reads.UNIT, None)
    path = f"container {case.ctid}:/etc/docker/daemon.json"
    for each in _found(Source(path, content, Kind.DAEMON)):
        if each.id == "daemon-key-unknown" and unit is not None and unit.runs:
            known = (
                "as far as lint knows; Docker runs, so it is newer, or the file was changed since"
            )
            cause = f"{each.cause}, {known}"
            yield replace(each, severity=Severity.ADVICE, cause=cause)
        else:
            yield each


def _found(source: Source) -> Iterator[Finding]:
    found = [each for each in check([source]) if not each.is_advice]
    for number, each in enumerate(found[:_MANY], 1):
        place = f"{each.path}, line {each.line}" if each.line else each.path
        left_out = len(found) - _MANY if number == _MANY else 0
        more = f"; {left_out} more in this file: see lint" if left_out > 0 else ""
        said = f"{place}: {each.cause[:_LONGEST]}{more}"
        yield each.problem.here(said, fix=each.fix, severity=Severity.PROBLEM)


_CODES = {"226": "NAMESPACE", "243": "CREDENTIALS"}
_MANY_UNITS = 5


@Examination("whether the container has nesting", ("nesting-off",))
def nesting(case: Case) -> Iterator[Finding]:
    """Yield that nesting is off; plain LXC has no such option, and its profile decides."""
    features = given(case.config.current().get("features", ""))
    if case.pct and "nesting" not in features:
        yield here("nesting-off", f"{case.config.path} has no nesting=1 in features")


@Examination(
    "whether units of the guest are refused",
    ("units-refused",),
    guest=(guest_reads.GUEST, guest_reads.FAILED),
)
def units(case: Case) -> Iterator[Finding]:
    """Yield the units that failed before their program ran."""
    if case.guest.of(guest_reads.GUEST) == "running":
        return
    units = case.guest.of(guest_reads.FAILED)
    if failed := [f"{name} ({_CODES[code]})" for name, code in units if code in _CODES]:
        yield here("units-refused", f"{len(failed)} failed: {listed(failed, _MANY_UNITS)}")
