"""Failed units of a guest, and whether AppArmor made them fail.

AppArmor is to blame if a denial while the unit ran matches the unit. It may be if something else
was denied then, or the unit itself reports a refusal, because a quiet ``deny`` leaves no record.
Sources: systemctl(1), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import confinement
from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.facts.denial import denial_log

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.transport import Transport

_BEGAN, _ENDED = "InactiveExitTimestamp", "InactiveEnterTimestamp"
#: For a unit that waits for its restart, because its own times are those of the waiting.
_STARTED, _EXITED = "ExecMainStartTimestamp", "ExecMainExitTimestamp"
_WAITS = ("auto-restart", "auto-restart-queued")
_SHOWN = (
    *("Id", "SubState", _BEGAN, _ENDED, _STARTED, _EXITED),
    *("Where", "ExecStart", "ExecMount", "Result"),
)
#: How far a denial may be outside of its unit's time (seconds): the kernel has two clocks.
_SLACK = 0.5
#: So many denials of a unit's time are kept: a guest chooses how many units and denials it has.
_MOST = 100
_TIME = itemgetter(0)
#: Messages of a program that was refused something.
_REFUSAL = patterns.compile(r"(?i)permission denied|not permitted|step (NAMESPACE|CAPABILITIES)\b")


@dataclass(frozen=True)
class FailedUnit:
    """A failed unit: its start and end (Unix time), its programs, its mount point."""

    name: str
    began: float
    ended: float
    programs: frozenset[str] = frozenset()
    where: str = ""


def properties(shown: str) -> list[dict[str, str]]:
    """Return the properties of each unit that ``systemctl show`` printed; a list as one text."""
    units = []
    for block in patterns.split(r"\n\s*\n", shown):
        of_unit: dict[str, list[str]] = {}
        for key, equals, value in (line.partition("=") for line in block.splitlines()):
            if equals:
                of_unit.setdefault(key, []).append(value)
        units.append({key: " ".join(values).strip() for key, values in of_unit.items()})
    return [of_unit for of_unit in units if of_unit]


def failed(container: Transport, names: Iterable[str]) -> tuple[FailedUnit, ...]:
    """Return the times and programs of failed units; raises FactError if one has no times."""
    wanted = sorted(names)
    show = ["systemctl", "show", "--timestamp=us+utc", "-p", ",".join(_SHOWN), "--", *wanted]
    told = container.look(show).require().text
    units = {}
    for of_unit in properties(told):
        waits = of_unit.get("SubState") in _WAITS
        times = (_STARTED, _EXITED) if waits else (_BEGAN, _ENDED)
        try:
            began, ended = (when(of_unit.get(key, "")) for key in times)
        except ValueError:
            continue
        ran = of_unit.get("ExecStart", "") + of_unit.get("ExecMount", "")
        programs = {path.rpartition("/")[2] for path in patterns.findall(r"path=(\S+)", ran)}
        units[of_unit.get("Id", "")] = FailedUnit(
            of_unit.get("Id", ""), began, ended, frozenset(programs), of_unit.get("Where", "")
        )
    for name in wanted:
        if name not in units:
            raise FactError(
                f"{container.machine}: systemd does not say when {name} started and failed, so no "
                f"denial can be matched with it: see systemctl show {name}"
            )
    return tuple(units[name] for name in wanted)


def when(stamp: str) -> float:
    """Return the Unix time of ``Wed 2026-11-25 09:41:04.290913 UTC``; raises ValueError."""
    text = stamp.partition(" ")[2].removesuffix(" UTC")
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def denials(
    node: Transport, profile: str, units: Sequence[FailedUnit]
) -> dict[FailedUnit, list[Denial]]:
    """Return the last denials under a profile while each unit ran, but those of our own attempts.

    Raises FactError if the node's log cannot be read.
    """
    log = denial_log.read(node, min(unit.began for unit in units) - _SLACK)
    if log.unread:
        raise FactError(f"the denials in the log of {node.machine} cannot be read: {log.unread}")
    timed = []
    for denial in audit_records.parse(b"\n".join(log.lines).decode(errors="replace")):
        at = audit_records.when(denial.line)
        ours = denial.profile.partition("//")[0] == profile
        if at is not None and ours and not confinement.caused_by_attempt(denial):
            timed.append((at, denial))
    timed.sort(key=_TIME)
    by_unit = {}
    for unit in units:
        first = bisect_left(timed, unit.began - _SLACK, key=_TIME)
        end = bisect_right(timed, unit.ended + _SLACK, key=_TIME)
        by_unit[unit] = [denial for _, denial in timed[max(first, end - _MOST) : end]]
    return by_unit


def matching_denials(unit: FailedUnit, denials: Sequence[Denial]) -> list[Denial]:
    """Return the denials that belong to the unit.

    These are denials of its programs (the kernel keeps 15 characters of a name), of systemd's child
    that sets up the unit (its name is in brackets), and at its mount point.
    """
    names = {program[:15] for program in unit.programs}
    return [
        denial
        for denial in denials
        if denial.fields.get("comm", "") in names
        or denial.fields.get("comm", "").startswith("(")
        or (unit.where and denial.fields.get("name", "").rstrip("/") == unit.where.rstrip("/"))
    ]


def refusal_message(container: Transport, unit: str) -> str:
    """Return a unit's last message of a refusal, if any; raises FactError without any message."""
    show = ["journalctl", "-u", unit, "-b", "-q", "--no-pager", "-o", "cat", "-n", "40"]
    lines = [line.strip() for line in container.look(show).text.splitlines() if line.strip()]
    if not lines:
        raise FactError(f"the journal of {container.machine} has no message of the failed {unit}")
    return next((line for line in reversed(lines) if _REFUSAL.search(line)), "")
