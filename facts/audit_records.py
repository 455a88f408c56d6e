"""AppArmor's denials in a node's log: records, their fields and their meaning.

Source: auditd(8), auditctl(8), kernel Documentation/admin-guide/LSM/apparmor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facts import canary
from targets.printable import one_line

if TYPE_CHECKING:
    from targets.transport import Transport

DENIED = re.compile(r'apparmor="DENIED"')
FIELD = re.compile(r'(?<!\w)(\w{1,64})=(?:"([^"]*)"|(\S+))')
#: The longest record of the kernel (MAX_AUDIT_MESSAGE_LENGTH) with auditd's additions.
LONGEST_RECORD = 1 << 14
#: The kernel's record of a changed setting, and of a changed rule.
SET = re.compile(r" op=set (\w{1,40})=([0-9]{1,20}) old=([0-9]{1,20}) ")
_RULE = re.compile(r" op=\w{1,20}_rule .{0,400}\blist=([0-9]{1,3}) ")
#: The list of rules that drop records (AUDIT_FILTER_EXCLUDE).
_EXCLUDE = "5"
_SERIAL = re.compile(r"audit\(([0-9.]{1,40}:[0-9]{1,20})\)")
AUDIT_LOG = "/var/log/audit/audit.log"
_RECENT = f"""
if systemctl is-active -q auditd; then tail -c 1000000 {AUDIT_LOG}
else journalctl -k -b -q --no-pager -o cat; fi | grep -a 'apparmor="DENIED"' | tail -n 2000
"""
#: Fields that the kernel writes in hexadecimal if they hold a blank or a quote.
_MAY_BE_HEX = frozenset({"name", "comm", "profile", "srcname", "peer"})
#: auditd's records of itself that hide no denial: a new file, a sender that connects or leaves.
_HARMLESS = frozenset({"DAEMON_ROTATE", "DAEMON_ACCEPT", "DAEMON_CLOSE"})


@dataclass(frozen=True)
class Denial:
    """One record: the fields as the kernel wrote them, and the whole line."""

    fields: dict[str, str]
    line: str

    @property
    def profile(self) -> str:
        """The profile that refused."""
        return self.fields.get("profile", "")

    @property
    def summary(self) -> str:
        """Operation, profile and object, for one line of a report."""
        wanted = ("operation", "profile", "name", "fstype", "flags", "info", "comm")
        return one_line(" ".join(f'{k}="{self.fields[k]}"' for k in wanted if k in self.fields))


def parse(log: str) -> list[Denial]:
    """Return the AppArmor denials in a part of the log, oldest first."""
    return [
        Denial(
            {key: _value(key, quoted, bare) for key, quoted, bare in FIELD.findall(line)},
            line.strip(),
        )
        for line in (each[:LONGEST_RECORD] for each in log.splitlines())
        if DENIED.search(line)
    ]


def _value(key: str, quoted: str, bare: str) -> str:
    if bare and key in _MAY_BE_HEX and re.fullmatch(r"(?:[0-9A-F]{2})+", bare):
        return bytes.fromhex(bare).decode(errors="replace")
    return quoted or bare


def recent(node: Transport, profile: str) -> list[Denial]:
    """Return the denials under a profile at the end of the log, oldest first.

    This is not a window: it lists denials, but cannot prove that there were none.

    Args:
        node: the node whose log is read.
        profile: its name. Several containers may share it.
    """
    log = node.look(["sh", "-c", _RECENT]).text
    ours = [denial for denial in parse(log) if denial.profile == profile]
    return [denial for denial in ours if not canary.is_one(denial.fields.get("name", ""))]


def serial(denial: Denial) -> str:
    """Return the kernel's id of an event: its time and number."""
    found = _SERIAL.search(denial.line)
    return found[1] if found else denial.line


def restarts(line: str) -> bool:
    """Whether a line is auditd's record of its own start, end or reconfiguration."""
    found = re.match(r"(?:node=\S{1,400} )?type=(DAEMON_[A-Z]{1,20}) ", line)
    return bool(found) and found[1] not in _HARMLESS  # type: ignore[index]


def reconfigures(line: str, *, auditd: bool) -> bool:
    """Whether a line is the kernel's record of a change that may have hidden a denial.

    A setting with the same value as before hides nothing, nor does a rule of another list than
    ``exclude``. A change of the receiving process matters only if the records come from auditd.
    """
    if not re.match(r"changed |(?:node=\S{1,400} )?type=CONFIG_CHANGE ", line):
        return False
    if found := SET.search(line):
        name, now, was = found.groups()
        return now != was and name != "lost" and (auditd or name != "audit_pid")
    if rule := _RULE.search(line):
        return rule[1] == _EXCLUDE and " res=0" not in line
    return True
