"""Units of a guest that failed, and whether AppArmor made them fail.

A unit that failed is AppArmor's if a denial in the unit's time fits it. That there was none counts
only if the node's log holds that time without a gap, and the unit itself does not speak of a
refusal: a quiet ``deny`` leaves no record. Sources: systemctl(1), org.freedesktop.systemd1(5),
auditd.conf(5), kernel/audit.c (audit_log_lost, printk's limit).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from facts import audit_records, confinement
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facts.audit_records import Denial
    from targets.transport import Transport

_BEGAN, _ENDED = "InactiveExitTimestamp", "InactiveEnterTimestamp"
#: Of one that waits to be started again the unit's own times are of the waiting.
_STARTED, _EXITED = "ExecMainStartTimestamp", "ExecMainExitTimestamp"
_WAITS = ("auto-restart", "auto-restart-queued")
_SHOWN = (
    *("Id", "SubState", _BEGAN, _ENDED, _STARTED, _EXITED),
    *("Where", "ExecStart", "ExecMount", "Result"),
)
#: How long after a unit's end its denials' times may still be (seconds): two clocks of one kernel.
_SLACK = 0.5
#: Words of a program that was refused something; not of one that waited in vain.
_REFUSAL = re.compile(
    r"permission denied|not permitted|step (NAMESPACE|CAPABILITIES)\b", re.IGNORECASE
)

#: Of the log so many lines at the most are read: its last ones.
_MOST = 2000
#: auditd's records of itself, and of a rule that left records out and was removed.
_OWN = r"^(node=[^ ]* )?type=(DAEMON_(START|END|ABORT|CONFIG)|CONFIG_CHANGE) "
#: Prints since when the node's log goes, each denial in it, and each thing that may hide some:
#: lost records, a start or an end of auditd, rules that leave records out. Nothing else leaves the
#: node: there are command lines among the records.
_LOG = rf"""
kernel() {{ journalctl -k -b -q --no-pager -o short-unix; }}
lost='audit_lost=|callbacks suppressed|audit: rate limit|audit: backlog limit'
if systemctl is-active -q auditd; then
    set -- $(ls -1tr /var/log/audit/audit.log*)
    cat "$@" >/dev/null || exit 1
    head -q -n 1 "$1" | sed -nE 's/^.*audit\(([0-9.]+):.*$/since \1/p'
    cat "$@" | grep -aE 'apparmor="DENIED"|{_OWN}' | tail -n {_MOST}
else
    kernel | sed -nE '1s/^([0-9.]+) .*$/since \1/p'
    kernel | grep -a 'apparmor="DENIED"' | tail -n {_MOST}
fi
kernel | grep -aE "$lost" | sed -E 's/^([0-9.]+) .*$/gap \1/' | tail -n {_MOST}
auditctl -l 2>/dev/null | sed -nE '/exclude/s/^/rule /p'
echo end
"""
#: A rule that leaves out AppArmor's records, or some of every kind.
_HIDING = re.compile(r"rule (?!.*msgtype=(?!AVC|1400|APPARMOR|150))")
#: The kernel's record of a rule that left out records (of the list ``exclude``) and is gone.
_REMOVED = re.compile(r" op=remove_rule .{0,400}\blist=5 ")
_MARK = re.compile(r"(since|gap) ([0-9]{1,12}(?:\.[0-9]{1,9})?)")
_TIME = re.compile(r"audit\(([0-9]+\.[0-9]+):")


@dataclass(frozen=True)
class FailedUnit:
    """A unit that failed: when it began and ended (Unix time), what it runs, where it mounts."""

    name: str
    began: float
    ended: float
    programs: frozenset[str] = frozenset()
    where: str = ""

    @property
    def seconds(self) -> float:
        """How long it took to fail."""
        return self.ended - self.began


@dataclass(frozen=True)
class Log:
    """What a node's log holds of denials, since when, and where something may be missing."""

    since: float
    denials: tuple[tuple[float, Denial], ...] = ()
    gaps: tuple[float, ...] = ()
    #: Times at which auditd started (True) and ended (False).
    turns: tuple[tuple[float, bool], ...] = ()
    rules: tuple[str, ...] = ()
    #: Times until which a rule left records out that is gone, or auditd was configured otherwise.
    former: tuple[float, ...] = ()

    def hidden(self, began: float, ended: float) -> str:
        """Return why a denial between two times may not be in the log; empty if it must be."""
        if began < self.since:
            return "the node's log does not go back to the unit's start"
        if self.rules:
            return f"the node's audit rules leave records out: {self.rules[0]}"
        if any(began <= when for when in self.former):
            return (
                "a rule that left records out was removed since, or auditd reconfigured (in "
                "auditd's log: CONFIG_CHANGE, DAEMON_CONFIG)"
            )
        if any(began <= when <= ended + 1 for when in self.gaps):
            return "the kernel lost audit records in the unit's time"
        before = [on for when, on in sorted(self.turns) if when < began]
        if any(began <= when <= ended for when, _ in self.turns) or before[-1:] == [False]:
            return "auditd did not run all of the unit's time"
        return ""


def failed(container: Transport, names: Iterable[str]) -> tuple[FailedUnit, ...]:
    """Return when units began and ended, and what they ran; in one round trip.

    Raises:
        FactError: systemd does not say of one of them when that was.
    """
    wanted = sorted(names)
    show = ["systemctl", "show", "--timestamp=us+utc", "-p", ",".join(_SHOWN), "--", *wanted]
    told = container.look(show).require().text
    found = {}
    for block in re.split(r"\n\s*\n", told):
        said = [line.partition("=") for line in block.splitlines() if "=" in line]
        of_unit: dict[str, str] = {}
        for key, _, value in said:
            of_unit[key] = f"{of_unit.get(key, '')} {value}".strip()
        waits = of_unit.get("SubState") in _WAITS
        times = (_STARTED, _EXITED) if waits else (_BEGAN, _ENDED)
        try:
            began, ended = (_when(of_unit.get(each, "")) for each in times)
        except ValueError:
            continue
        ran = of_unit.get("ExecStart", "") + of_unit.get("ExecMount", "")
        programs = {path.rpartition("/")[2] for path in re.findall(r"path=(\S+)", ran)}
        found[of_unit.get("Id", "")] = FailedUnit(
            of_unit.get("Id", ""), began, ended, frozenset(programs), of_unit.get("Where", "")
        )
    for name in wanted:
        if name not in found:
            raise FactError(
                f"{container.machine}: systemd does not say when {name} began and failed, so no "
                f"denial can be held against it: systemctl show {name}"
            )
    return tuple(found[name] for name in wanted)


def _when(said: str) -> float:
    """Return the Unix time of ``Wed 2026-11-25 09:41:04.290913 UTC``."""
    text = said.partition(" ")[2].removesuffix(" UTC")
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def log(node: Transport) -> Log:
    """Return what a node's log holds of denials, and where something may be missing.

    Raises:
        FactError: it cannot be read.
    """
    told = node.look(["sh", "-c", _LOG, "log"])
    lines = told.text.splitlines()
    marks = [_MARK.fullmatch(line) for line in lines if line.startswith(("since ", "gap "))]
    since = [float(mark[2]) for mark in marks if mark and mark[1] == "since"]
    if not told.ok or lines[-1:] != ["end"] or not since or None in marks:
        why = told.stderr.decode(errors="replace").strip() or "nothing that has a time"
        raise FactError(f"denials in the log of {node.machine} were to be read, and there is {why}")
    begins = since[0]
    turns, denials, former, read = [], [], [], []
    for line in lines:
        if not (found := _TIME.search(line)):
            continue
        when, own = float(found[1]), re.match(r"(?:node=\S* )?type=(\w+) ", line)
        read.append(when)
        if own and own[1] in {"DAEMON_CONFIG", "CONFIG_CHANGE"}:
            former += [when] if own[1] == "DAEMON_CONFIG" or _REMOVED.search(line) else []
        elif own and own[1].startswith("DAEMON_"):
            turns.append((when, own[1] == "DAEMON_START"))
        else:
            denials += [(when, each) for each in audit_records.parse(line)]
    if len(read) >= _MOST:  # what came before them was not read
        begins = max(begins, min(read))
    return Log(
        begins,
        tuple(denials),
        tuple(float(mark[2]) for mark in marks if mark and mark[1] == "gap"),
        tuple(turns),
        tuple(line.removeprefix("rule ") for line in lines if _HIDING.match(line)),
        tuple(former),
    )


def in_time(unit: FailedUnit, said: Log, profile: str) -> list[Denial]:
    """Return the denials under a profile in a unit's time; ours, by attempt, are none of them."""
    return [
        denial
        for when, denial in said.denials
        if unit.began - _SLACK <= when <= unit.ended + _SLACK
        and denial.profile.partition("//")[0] == profile
        and not confinement.provoked(denial)
    ]


def fitting(unit: FailedUnit, denials: Sequence[Denial]) -> list[Denial]:
    """Return the denials that are the unit's own, and no neighbour's that happened meanwhile.

    Its program's, as far as the kernel keeps the name; or that of systemd's child which makes the
    unit's surroundings, named in brackets; or at the place where it mounts.
    """
    names = {program[:15] for program in unit.programs}
    return [
        denial
        for denial in denials
        if denial.fields.get("comm", "") in names
        or denial.fields.get("comm", "").startswith("(")
        or (unit.where and denial.fields.get("name", "").rstrip("/") == unit.where.rstrip("/"))
    ]


def refusal(container: Transport, unit: str) -> str:
    """Return the unit's last words of a refusal, from its journal; empty if it has none.

    Raises:
        FactError: the journal has nothing of it, so nobody knows what it said.
    """
    show = ["journalctl", "-u", unit, "-b", "-q", "--no-pager", "-o", "cat", "-n", "40"]
    lines = [line.strip() for line in container.look(show).text.splitlines() if line.strip()]
    if not lines:
        raise FactError(f"the journal of {container.machine} has nothing of {unit}, which failed")
    return next((line for line in reversed(lines) if _REFUSAL.search(line)), "")
