"""AppArmor's denials over a window of time, and the proof that the window has no gap.

A quiet log proves nothing by itself. A :class:`Window` is complete only if

- the kernel's records hold the canaries of its opening and its closing;
- nothing in between could have hidden a denial: no changed configuration of the audit or of
  AppArmor, no lost record, no rule that drops records, be it those of one user or profile.

Source: auditctl(8), kernel Documentation/admin-guide/LSM/apparmor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_records, audit_sources, canary
from docker_lxc_gate.facts.audit.audit_records import AUDIT_LOG, Denial
from docker_lxc_gate.machines.runtime.waiting import comes
from docker_lxc_gate.machines.transport import Transport

#: How long a record may take from the kernel to its readers (seconds).
_CANARY_PATIENCE = 20.0
_SILENT = "denials are not being recorded, so silence says nothing"


class Unwatched(FactError):
    """The log cannot prove that nothing was denied: the verdict is undetermined.

    ``denials`` are the known ones.
    """

    def __init__(self, message: str, denials: Sequence[Denial] = ()) -> None:
        super().__init__(message)
        self.denials = tuple(denials)


@dataclass(frozen=True)
class Subject:
    """A container's processes on the node.

    Attributes:
        profile: their AppArmor profile, if it is a named one.
        ranges: their id ranges: ``u`` or ``g``, the first id on the node, and the count.
    """

    profile: str = ""
    ranges: frozenset[tuple[str, int, int]] = frozenset()

    def may_have_id(self, key: str, value: str) -> bool:
        """Whether one of its processes may have this id."""
        ranges = [(first, count) for kind, first, count in self.ranges if kind == key[0]]
        if not (ranges and value.isascii() and value.isdecimal()):
            return True
        return any(first <= int(value) < first + count for first, count in ranges)


@dataclass(frozen=True)
class _Report:
    """The kernel's denials between the canaries, and its remarks.

    ``opened`` is whether the canary of the opening arrived.
    """

    denials: tuple[Denial, ...] = ()
    remarks: tuple[str, ...] = ()
    opened: bool = False


class Window:
    """A window of a node's denials, from construction until :meth:`close`.

    The caller must call :meth:`end` in any case, because the window holds a process on the node
    that listens to the kernel's records.

    Args:
        node: the node whose denials are read.
        subject: the container under test, if there is one.

    Raises:
        FactError: the kernel's records cannot be read.
    """

    def __init__(self, node: Transport, subject: Subject | None = None) -> None:
        self._node, self._subject = node, subject or Subject()
        self._records = audit_sources.Records(node)
        try:
            self._start = audit_sources.state(node)
            self._opened = self._provoke()
        except BaseException:
            self.end()
            raise

    @property
    def log(self) -> str:
        """Where this node keeps its denials: ``auditd``, or ``kernel`` if no auditd runs."""
        return "auditd" if self._start.reader and self._start.name == "auditd" else "kernel"

    def require_logged(self) -> None:
        """Require that auditd, if it runs, has written the canary of the opening to its log.

        Raises Unwatched if it is suspended, or the log does not show the canary in time.
        """
        if self.log != "auditd":
            return
        state, machine = audit_sources.state(self._node), self._node.machine
        if state.status in {"T", "t"}:  # by SIGSTOP, or a debugger
            raise Unwatched(
                f"{state.name} (process {state.reader}) on {machine} is suspended, so nothing is "
                f"written to {AUDIT_LOG}: resume it with kill -CONT {state.reader}, then run the "
                "gate again"
            )

        logs = (AUDIT_LOG, f"{AUDIT_LOG}.1")  # auditd may have rotated it
        search = ["grep", "-asqF", self._opened.name, *logs]
        if not comes(lambda: self._node.look(search).ok, _CANARY_PATIENCE):
            raise Unwatched(self._without_canary(AUDIT_LOG, self._opened))

    def close(self) -> list[Denial]:
        """End the window and return its denials, without the canaries.

        Raises Unwatched if it has a gap; the error holds the known denials.
        """
        doubts: list[str] = []
        try:
            report = self._report_until(self._provoke(), doubts)
            end = audit_sources.state(self._node)
        except FactError as error:
            raise Unwatched(str(error)) from error
        finally:
            self.end()
        causes = (
            *self._hiding_rules(end),
            *self._lost_records(report, end),
            *self._changes(report),
            *doubts,
        )
        if causes:
            raise Unwatched(causes[0], report.denials)
        return list(report.denials)

    def end(self) -> None:
        """End the window, if it is open, without reading its denials."""
        self._records.close()

    def _hiding_rules(self, end: audit_sources.AuditState) -> Iterator[str]:
        """Yield the rules that drop records, at either end."""
        for rule in dict.fromkeys((*self._start.rules, *end.rules)):
            if self._may_hide(rule):
                remove = patterns.sub(r"^-[aA]", "-d", rule)
                yield (
                    f"the audit of {self._node.machine} leaves out records that may be denials of "
                    f"the container: the rule '{rule}' (auditctl -l); remove it (auditctl {remove})"
                    ", then run the gate again"
                )

    def _may_hide(self, rule: str) -> bool:
        for key, sign, value in patterns.findall(r"-F ([a-z_0-9]{1,20})([!<>=&]{1,2})(\S+)", rule):
            if sign != "=":
                continue
            if key == "msgtype" and value not in {"AVC", "1400", "CONFIG_CHANGE", "1305"}:
                return False
            if key in {"uid", "gid"} and value != "0" and not self._subject.may_have_id(key, value):
                return False
        return True

    def _changes(self, report: _Report) -> Iterator[str]:
        """Yield the changes in the window that may have hidden a denial.

        Loading an unchanged profile again is no change; the kernel says so in its record.
        """
        unknown = "whether there were other denials is not known for certain"
        for remark in report.remarks:
            if remark.startswith("parameter "):
                name, was, now = [*remark.split(), *["unknown"] * 3][1:4]  # it may be cut off
                yield (
                    f"AppArmor was told in the window to go by {name} = {now}, which was {was} "
                    f"(/sys/module/apparmor/parameters/{name}); {unknown}"
                )
            if not remark.startswith("policy ") or "same as current" in remark:
                continue
            fields = {key: value for key, value, _ in audit_records.FIELD.findall(remark)}
            name = fields.get("name", "")
            if name and name.partition("//")[0] == self._subject.profile:
                yield (
                    f"the profile {name} was replaced in the window (the kernel's "
                    f"{fields.get('operation')}, by {fields.get('comm')}); {unknown}"
                )
        for change in filter(audit_records.reconfigures, report.remarks):
            yield f"the kernel's audit was reconfigured in the window: {change}; {unknown}"

    def _lost_records(self, report: _Report, end: audit_sources.AuditState) -> Iterator[str]:
        """Yield how many records were lost, and resets of that count."""
        sets = map(audit_records.SET.search, report.remarks)
        resets = [(x[3], x[2]) for x in sets if x and x[1] == "lost" and x[2] != x[3]]
        if end.lost < self._start.lost:
            resets.append((str(self._start.lost), str(end.lost)))
        for was, now in resets:
            yield (
                f"the kernel's count of lost audit records was reset in the window, from {was} to "
                f"{now} (auditctl --reset-lost): how many were lost is not known"
            )
        if end.lost != self._start.lost:
            held = (
                ". A kernel that was booted with audit=1 also counts the records that overflow its "
                "queue for auditd: run auditd, or boot without audit=1"
            )
            yield (
                f"the kernel lost {end.lost - self._start.lost} audit records in the window "
                f"(auditctl -s: lost), and they may have been denials"
                f"{held if self.log == 'kernel' else ''}"
            )

    def _report_until(self, closed: canary.Canary, doubts: list[str]) -> _Report:
        """Return the kernel's report up to the last canary; without a canary, add a doubt."""
        notes = ""

        def has_closed() -> bool:
            nonlocal notes
            notes = self._records.text()
            return closed.name in notes or audit_sources.GAP in notes

        if not comes(has_closed, _CANARY_PATIENCE):
            doubts.append(self._without_canary("the kernel", closed))
        if audit_sources.GAP in notes:
            denials = [entry for entry in audit_records.parse(notes) if not canary.is_canary(entry)]
            known = (
                f"; the first of the {len(denials)} others: {denials[0].summary}" if denials else ""
            )
            doubts.append(
                "the window had more records than could be read in time or kept, and the missing "
                f"ones may have been denials{known}"
            )
            return _Report(tuple(denials))
        report = self._report_between(notes, closed)
        if not report.opened:
            doubts.append(
                "a denial provoked on purpose when the window opened did not come from the kernel "
                f"of {self._node.machine}: records are being dropped, so silence says nothing"
            )
        return report

    def _without_canary(self, whence: str, missing: canary.Canary) -> str:
        return (
            f"a denial provoked on purpose did not come from {whence} of {self._node.machine} "
            f"within {_CANARY_PATIENCE:g} s: {_SILENT} (the attempt said: {missing.output})"
        )

    def _report_between(self, notes: str, closed: canary.Canary) -> _Report:
        """Return the part of the notes between the canaries of the window's opening and its end."""
        lines = [line[: audit_records.LONGEST_RECORD] for line in notes.splitlines()]
        opening = [n for n, line in enumerate(lines) if self._opened.name in line]
        closing = [n for n, line in enumerate(lines) if closed.name in line]
        # From the first one: a user of the node may read its name, and repeat it later.
        begin = opening[0] if opening else 0
        until = closing[0] if closing else len(lines)
        remarks = (line for line in lines[begin:] if not audit_records.DENIED.search(line))
        return _Report(
            tuple(
                denial
                for denial in audit_records.parse("\n".join(lines[begin:until]))
                if denial.fields.get("name") != self._opened.name
            ),
            tuple(line.removeprefix(audit_sources.REMARK) for line in remarks),
            bool(opening),
        )

    def _provoke(self) -> canary.Canary:
        provoked = canary.provoke(self._node)
        if provoked.allowed:
            raise Unwatched(f"the canary was not refused on {self._node.machine}")
        return provoked
