"""Failed units of a guest, and whether AppArmor made them fail.

AppArmor is to blame if a denial while the unit ran matches the unit. The absence of such a denial
counts only if the node's log has no gap in that time, and the unit itself reports no refusal,
because a quiet ``deny`` leaves no record. Sources: systemctl(1), org.freedesktop.systemd1(5),
auditd.conf(5), kernel/audit.c (audit_log_lost, printk's limit).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import confinement
from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.machines.programs import program

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
#: Messages of a program that was refused something.
_REFUSAL = patterns.compile(r"(?i)permission denied|not permitted|step (NAMESPACE|CAPABILITIES)\b")

#: The number of lines that are read from the end of the log.
_MOST = 2000
_LOG = program("docker_lxc_gate.facts", "unit_denials.sh")
#: The kinds of record that a rule is about, and whether AppArmor's are among them.
_KIND = patterns.compile(r"msgtype=(AVC|1400|APPARMOR|150)?")
#: The kernel's record of the removal of a rule of the list ``exclude``, which drops records.
_REMOVED = patterns.compile(r" op=remove_rule .{0,400}\blist=5 ")
_MARK = patterns.compile(r"(since|gap) ([0-9]{1,12}(?:\.[0-9]{1,9})?)")


@dataclass(frozen=True)
class FailedUnit:
    """A failed unit: its start and end (Unix time), its programs, its mount point."""

    name: str
    began: float
    ended: float
    programs: frozenset[str] = frozenset()
    where: str = ""

    @property
    def seconds(self) -> float:
        """The time from its start to its failure."""
        return self.ended - self.began


@dataclass(frozen=True)
class Log:
    """The denials in a node's log, the start of the log, and its gaps."""

    since: float
    denials: tuple[tuple[float, Denial], ...] = ()
    gaps: tuple[float, ...] = ()
    #: Times of auditd's starts (True) and ends (False).
    restarts: tuple[tuple[float, bool], ...] = ()
    rules: tuple[str, ...] = ()
    #: Times at which a rule that drops records was removed, or auditd was reconfigured.
    rule_changes: tuple[float, ...] = ()

    def gap_cause(self, began: float, ended: float) -> str:
        """Return why the log may lack a denial between two times; empty if it has all."""
        if began < self.since:
            return "the node's log does not go back to the unit's start"
        if self.rules:
            return f"the node's audit rules leave records out: {self.rules[0]}"
        if any(began <= when for when in self.rule_changes):
            return (
                "an audit rule that left records out has been removed, or auditd was reconfigured "
                "(in auditd's log: CONFIG_CHANGE, DAEMON_CONFIG)"
            )
        if any(began <= when <= ended + 1 for when in self.gaps):
            return "the kernel lost audit records while the unit ran"
        before = [on for when, on in sorted(self.restarts) if when < began]
        if any(began <= when <= ended for when, _ in self.restarts) or before[-1:] == [False]:
            return "auditd did not run all the time that the unit ran"
        return ""


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


@foreign.parser(..., ["x.service"])
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
            began, ended = (_when(of_unit.get(key, "")) for key in times)
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


def _when(stamp: str) -> float:
    """Return the Unix time of ``Wed 2026-11-25 09:41:04.290913 UTC``."""
    text = stamp.partition(" ")[2].removesuffix(" UTC")
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@foreign.parser()
def log(node: Transport) -> Log:
    """Return the denials in a node's log, and its gaps; raises FactError if it cannot be read."""
    told = node.look(["sh", "-c", _LOG, "log"])
    lines = told.text.splitlines()
    marks = [_MARK.fullmatch(line) for line in lines if line.startswith(("since ", "gap "))]
    since = [float(mark[2]) for mark in marks if mark and mark[1] == "since"]
    if not told.ok or lines[-1:] != ["end"] or not since or None in marks:
        why = told.stderr.decode(errors="replace").strip() or "no line has a time"
        raise FactError(f"the denials in the log of {node.machine} cannot be read: {why}")
    begins = since[0]
    restarts, denials, rule_changes, read = [], [], [], []
    for line in lines:
        if (when := audit_records.when(line)) is None:
            continue
        own = patterns.match(r"(?:node=\S* )?type=(\w+) ", line)
        read.append(when)
        if own and own[1] in {"DAEMON_CONFIG", "CONFIG_CHANGE"}:
            rule_changes += [when] if own[1] == "DAEMON_CONFIG" or _REMOVED.search(line) else []
        elif own and own[1].startswith("DAEMON_"):
            restarts.append((when, own[1] == "DAEMON_START"))
        else:
            denials += [(when, denial) for denial in audit_records.parse(line)]
    rules = [line.removeprefix("rule ") for line in lines if line.startswith("rule ")]
    if len(read) >= _MOST:  # what came before them was not read
        begins = max(begins, min(read))
    return Log(
        begins,
        tuple(denials),
        tuple(float(mark[2]) for mark in marks if mark and mark[1] == "gap"),
        tuple(restarts),
        tuple(rule for rule in rules if all(kind[1] for kind in _KIND.finditer(rule))),
        tuple(rule_changes),
    )


def denials_during(unit: FailedUnit, said: Log, profile: str) -> list[Denial]:
    """Return the denials under a profile while a unit ran, without those of our own attempts."""
    return [
        denial
        for when, denial in said.denials
        if unit.began - _SLACK <= when <= unit.ended + _SLACK
        and denial.profile.partition("//")[0] == profile
        and not confinement.caused_by_attempt(denial)
    ]


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


@foreign.parser(..., "x.service")
def refusal_message(container: Transport, unit: str) -> str:
    """Return a unit's last message of a refusal, if any; raises FactError without any message."""
    show = ["journalctl", "-u", unit, "-b", "-q", "--no-pager", "-o", "cat", "-n", "40"]
    lines = [line.strip() for line in container.look(show).text.splitlines() if line.strip()]
    if not lines:
        raise FactError(f"the journal of {container.machine} has no message of the failed {unit}")
    return next((line for line in reversed(lines) if _REFUSAL.search(line)), "")
