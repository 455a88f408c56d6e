"""AppArmor's denials in a node's log: records, their fields and their meaning.

Source: auditd(8), auditctl(8), kernel Documentation/admin-guide/LSM/apparmor.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from docker_lxc_gate import patterns
from docker_lxc_gate.printable import one_line

#: Stands in each record of a denial, in front of its fields.
MARK = 'apparmor="DENIED"'
#: The same, also of a profile in kill mode.
DENIED = patterns.compile('apparmor="(?:DENIED|KILLED)"')
FIELD = patterns.compile(r'\b(\w{1,64})=(?:"([^"]*)"|(\S+))')
#: The longest record of the kernel (MAX_AUDIT_MESSAGE_LENGTH) with auditd's additions.
LONGEST_RECORD = 1 << 14
#: The kernel's record of a changed setting, and of a changed rule.
SET = patterns.compile(r" op=set (\w{1,40})=([0-9]{1,20}) old=([0-9]{1,20}) ")
_RULE = patterns.compile(r" op=\w{1,20}_rule .{0,400}\blist=([0-9]{1,3}) ")
#: The list of rules that drop records (AUDIT_FILTER_EXCLUDE).
_EXCLUDE = "5"
_TIME = patterns.compile(r"audit\(([0-9]{1,12}(?:\.[0-9]{1,9})?):")
#: The year 10000 (Unix time).
_LAST_TIME = 253_402_300_800
#: What stands before the mark: a time, a host, types and numbers (characters).
_LONGEST_HEAD = 2000
_SERIAL = patterns.compile(r"audit\(([0-9.]{1,40}:[0-9]{1,20})\)")
AUDIT_LOG = "/var/log/audit/audit.log"
#: Where a record begins: of auditd, of the kernel's log. Two may stand in one line.
_HEAD = patterns.compile(r"(?:node=\S{1,400} )?(?:type=\w{1,40} )?(?:msg=)?audit\(")
#: Behind it auditd repeats numbers as names (log_format = ENRICHED).
_ENRICHED = "\x1d"
#: Values which the kernel writes in hexadecimal when they hold a blank or a quote.
_MAY_BE_HEX = frozenset(
    {"name", "comm", "profile", "srcname", "peer", "target", "namespace", "fstype", "tcontext"}
    | {"label"}
)


@dataclass(frozen=True)
class Denial:
    """One record: the fields as the kernel wrote them, and the whole line.

    ``whole`` is whether nothing of it is seen to be missing; a value that was cut is no field.
    """

    fields: dict[str, str]
    line: str
    whole: bool = True

    @property
    def profile(self) -> str:
        """The profile that refused, or the stack of them; empty if the record names none."""
        return self.fields.get("profile") or self.fields.get("label", "")

    @property
    def is_unconfined(self) -> bool:
        """Whether a process under no profile of the node's, and in no container's namespace."""
        return self.profile == "unconfined" and "namespace" not in self.fields

    @property
    def summary(self) -> str:
        """Operation, profile and object, for one line of a report."""
        wanted = ("operation", "profile", "label", "name", "fstype", "flags", "info", "comm")
        return one_line(" ".join(f'{k}="{self.fields[k]}"' for k in wanted if k in self.fields))


def parse(log: str) -> list[Denial]:
    """Return the AppArmor denials in a stretch of log, oldest first."""
    return [denial for line in log.splitlines() for denial in records(line)]


def records(line: str, mark: patterns.Pattern[str] = DENIED) -> list[Denial]:
    """Return each record in a line, whatever the line holds; never none if the mark is in it.

    Args:
        line: one line; two records stand in it if two writers were interleaved.
        mark: what stands in each of the records.
    """
    marks = [match.start() for match in mark.finditer(line)]
    cuts = [0, *(_start(line, *pair) for pair in pairwise(marks)), len(line)]
    pieces = zip(marks, cuts, cuts[1:], strict=False)
    return [_record(line[begin:end], at - begin) for at, begin, end in pieces]


def _start(line: str, before: int, at: int) -> int:
    """Return where the record begins whose mark is at ``at``: at its head, if that is there."""
    heads = [match.start() for match in _HEAD.finditer(line[before:at])]
    return before + heads[-1] if heads else at


def _record(text: str, mark: int) -> Denial:
    """Return the record of a piece of a line, whose mark stands at a place of it.

    Fields are read from there on: what stands before is the writer's own.
    """
    begin = max(0, mark - _LONGEST_HEAD)
    text, mark = text[begin : begin + LONGEST_RECORD], mark - begin
    if _ENRICHED in text[mark:]:
        text = text[: text.index(_ENRICHED, mark)]
    fields: dict[str, str] = {}
    whole = True
    for key, quoted, bare in FIELD.findall(text[mark:]):
        value = _value(key, quoted, bare)
        if value is None:
            whole = False
        else:
            fields.setdefault(key, value)
    return Denial(fields, text.strip(), whole)


def _value(key: str, quoted: str, bare: str) -> str | None:
    """Return what was written; None of a value that lacks its end."""
    if bare.startswith('"'):
        return None
    if bare and key in _MAY_BE_HEX and patterns.fullmatch(r"(?:[0-9A-F]{2})+", bare):
        return bytes.fromhex(bare).decode(errors="replace")
    return quoted or bare


def when(line: str) -> float | None:
    """Return the time by which the kernel names an event, as a Unix time; None if it is not told.

    A time that no calendar has is none.
    """
    match = _TIME.search(line)
    seconds = float(match[1]) if match else -1.0
    return seconds if 0 <= seconds < _LAST_TIME else None


def serial(denial: Denial) -> str:
    """Return the kernel's id of an event: its time and number."""
    match = _SERIAL.search(denial.line)
    return match[1] if match else denial.line


def reconfigures(remark: str) -> bool:
    """Whether a remark is the kernel's record of a change that may have hidden a denial.

    A setting with the same value as before hides nothing, nor does a rule of another list than
    ``exclude``, nor another process that receives the records.
    """
    if not remark.startswith("changed "):
        return False
    if match := SET.search(remark):
        name, now, was = match.groups()
        return now != was and name not in {"lost", "audit_pid"}
    if rule := _RULE.search(remark):
        return rule[1] == _EXCLUDE and " res=0" not in remark
    return True
