"""AppArmor's denials over a window of time, and the proof that the window has no gap.

A quiet log proves nothing by itself. A :class:`Window` is complete only if

- it holds the canaries of its opening and its closing, including those of the container's own user
  and under its profile;
- auditd's log and the kernel report the same denials;
- nothing in between could have hidden a denial: no other auditd, no changed configuration of the
  audit, no shorter log, no lost record, no rule that drops records.

Source: auditd(8), auditctl(8), kernel Documentation/admin-guide/LSM/apparmor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import stamina

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts.audit import audit_records, audit_sources, canary
from docker_lxc_gate.facts.audit.audit_records import AUDIT_LOG, Denial, serial
from docker_lxc_gate.facts.audit.audit_sources import AuditLog
from docker_lxc_gate.machines.transport import Transport

#: How long a record may take from the kernel to the log (seconds).
_CANARY_PATIENCE = 20.0


class Unwatched(RemediationError):
    """The log cannot prove that nothing was denied: the verdict is undetermined.

    ``denials`` are the known ones.
    """

    def __init__(self, message: str, denials: Sequence[Denial] = ()) -> None:
        super().__init__(message)
        self.denials = tuple(denials)


class _NotYet(Exception):
    """The canary has not reached the log yet."""


@dataclass(frozen=True)
class _SourceReport:
    """The report of one source: the denials between the canaries, and records of changes.

    ``opened`` and ``closed`` are the canaries that arrived; ``remarks`` are the other records.
    """

    denials: tuple[Denial, ...] = ()
    remarks: tuple[str, ...] = ()
    opened: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()


class Window:
    """A window of a node's log, from construction until :meth:`close`.

    The caller must call :meth:`end` in any case, because the window holds a process on the node
    that listens to the kernel's records.

    Args:
        node: the node whose log is read.
        source: ``auditd`` reads auditd's log, ``kernel`` the kernel's own records; ``auto`` finds
            out which process receives the records.
        subject: the container under test, if there is one.

    Raises:
        Unwatched: the source cannot be read.
    """

    def __init__(
        self, node: Transport, source: str = "auto", subject: canary.Subject | None = None
    ) -> None:
        self._node, self._subject = node, subject or canary.Subject()
        self._returned = set[str]()
        #: Why the kernel's records cannot be read; empty if they can.
        self.kernel_unreadable = ""
        self._records: audit_sources.Records | None = None
        try:
            self._records = audit_sources.Records(node, AUDIT_LOG)
        except FactError as error:
            self.kernel_unreadable = str(error)
        try:
            self._start = self._state()
            self._log = AuditLog(node, self._start.inode, self._start.size)
            auditd = self._start.reader and self._start.name == "auditd"
            auto = "auditd" if auditd else "kernel"
            #: The source of this node's denials: ``auditd`` or ``kernel``.
            self.source = auto if source == "auto" else source
            self._require_readable()
            self._opened = self._provoke()
        except BaseException:
            self.end()
            raise

    def _require_readable(self) -> None:
        if self.source == "kernel":
            if self.kernel_unreadable:
                raise Unwatched(self.kernel_unreadable)
            return
        if why := self._suspension(self._start):
            raise Unwatched(why)
        if not self._start.inode:
            raise Unwatched(
                f"denials go to auditd on {self._node.machine}, but {AUDIT_LOG} cannot be read"
            )

    def _suspension(self, state: audit_sources.AuditState) -> str:
        if not state.suspended:
            return ""
        return (
            f"{state.name} (process {state.reader}) on {self._node.machine} is suspended, so "
            f"nothing is written to {AUDIT_LOG}: resume it with kill -CONT {state.reader}, "
            "then run the gate again"
        )

    def new_denials(self) -> list[Denial]:
        """Return the denials since the window opened, or since the last call.

        Raises Unwatched if the log cannot be read.
        """
        text = self._read_auditd() if self.source == "auditd" else self._read_kernel()
        found = [each for each in audit_records.parse(text) if self._opened.nonce not in each.line]
        new = [each for each in found if each.line not in self._returned]  # a renamed log grows
        self._returned |= {each.line for each in new}
        return new

    def close(self) -> list[Denial]:
        """End the window and return its denials, without the canaries.

        Raises Unwatched if it has a gap; the error holds the known denials.
        """
        kernel = log_file = _SourceReport()
        doubts: list[str] = []
        try:
            canaries = self._provoke()
            if self.source == "auditd":
                log_file = self._report_until(canaries, self._read_auditd, doubts)
            if self._records:
                kernel = self._report_until(canaries, self._read_kernel, doubts)
            end = self._state()
        finally:
            self.end()
        written = set(map(serial, log_file.denials))
        denials = [*log_file.denials, *(d for d in kernel.denials if serial(d) not in written)]
        causes = (
            *self._hiding_rules(end),
            *self._lost_records(kernel, log_file, end),
            *self._changes(kernel, log_file, end),
            *doubts,
            *self._missing_records(kernel, log_file, canaries),
        )
        if causes:
            raise Unwatched(causes[0], denials)
        return denials

    def end(self) -> None:
        """End the window, if it is open, without reading its denials."""
        if self._records:
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

    def _changes(
        self, kernel: _SourceReport, log_file: _SourceReport, end: audit_sources.AuditState
    ) -> Iterator[str]:
        """Yield the changes in the window that may have hidden a denial."""
        begin, unknown = self._start, "whether there were other denials is not known for certain"
        auditd = self.source == "auditd"
        if auditd and (why := self._suspension(end)):
            yield why
        readers = [_words(each, 2) for each in kernel.remarks if each.startswith("reader ")]
        if (end.reader, end.started) != (begin.reader, begin.started):
            readers.insert(0, [str(begin.reader), str(end.reader)])
        if auditd and readers:
            yield (
                f"another auditd took the records in the window: process {readers[0][0]} at first, "
                f"then process {readers[0][1]} (0: none); {unknown}"
            )
        if auditd and (own := [each for each in log_file.remarks if audit_records.restarts(each)]):
            yield f"auditd was started, stopped or reconfigured in the window: {own[0]}; {unknown}"
        yield from self._policy_changes(kernel.remarks, unknown)
        remarks = (*kernel.remarks, *log_file.remarks)
        if changes := [each for each in remarks if audit_records.reconfigures(each, auditd=auditd)]:
            yield f"the kernel's audit was reconfigured in the window: {changes[0]}; {unknown}"
        if auditd:
            yield from self._truncations(kernel, end)

    def _policy_changes(self, remarks: Sequence[str], unknown: str) -> Iterator[str]:
        """Yield the changes of the container's profile and of AppArmor's settings.

        Loading an unchanged profile again is no change; the kernel says so in its record.
        """
        for remark in remarks:
            if remark.startswith("parameter "):
                name, was, now = _words(remark, 3)
                yield (
                    f"AppArmor was told in the window to go by {name} = {now}, which was {was} "
                    f"(/sys/module/apparmor/parameters/{name}); {unknown}"
                )
            if not remark.startswith("policy ") or "same as current" in remark:
                continue
            said = {key: value for key, value, _ in audit_records.FIELD.findall(remark)}
            name = said.get("name", "")
            if name and name.partition("//")[0] == self._subject.profile:
                yield (
                    f"the profile {name} was replaced in the window (the kernel's "
                    f"{said.get('operation')}, by {said.get('comm')}); {unknown}"
                )

    def _truncations(self, kernel: _SourceReport, end: audit_sources.AuditState) -> Iterator[str]:
        said = f"{AUDIT_LOG} was cut in the window, from {{}} to {{}} bytes: records are gone"
        for remark in kernel.remarks:
            if remark.startswith("shrank "):
                yield said.format(*_words(remark, 2))
        if end.inode == self._start.inode and end.size < self._start.size:
            yield said.format(self._start.size, end.size)
        if not end.inode:
            yield f"{AUDIT_LOG} was removed in the window: records are gone"

    def _lost_records(
        self, kernel: _SourceReport, log_file: _SourceReport, end: audit_sources.AuditState
    ) -> Iterator[str]:
        """Yield how many records were lost, and resets of that count."""
        resets = [_words(each, 2) for each in kernel.remarks if each.startswith("reset ")]
        sets = map(audit_records.SET.search, (*kernel.remarks, *log_file.remarks))
        resets += [[x[3], x[2]] for x in sets if x and x[1] == "lost" and x[2] != x[3]]
        if end.lost < self._start.lost:
            resets.append([str(self._start.lost), str(end.lost)])
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
                f"{held if self.source == 'kernel' else ''}"
            )

    def _missing_records(
        self, kernel: _SourceReport, log_file: _SourceReport, closed: canary.Canaries
    ) -> Iterator[str]:
        """Yield the canaries that a source lacks, and the denials that only one source has."""
        sources = [(AUDIT_LOG, log_file)] if self.source == "auditd" else []
        sources += [("the kernel", kernel)] if self._records else []
        silent = "records are being dropped, so silence says nothing"
        whose = {
            "root": "a denial",
            "user": f"a denial of user {self._subject.uid}, the container's root,",
            "profile": f"a denial under the profile {self._subject.profile}",
        }
        for name, source in sources:
            for canaries, came, when in (
                (self._opened, source.opened, "opened"),
                (closed, source.closed, "closed"),
            ):
                for each in canaries.refused:
                    if each not in came:
                        yield (
                            f"{whose[each]} provoked on purpose when the window {when} did not "
                            f"come from {name} of {self._node.machine}: {silent}"
                        )
        if len(sources) > 1:
            told, written = (Counter(map(serial, source.denials)) for source in (kernel, log_file))
            for here, there, words in (
                (told, written, f"that the kernel reported are not in {AUDIT_LOG}"),
                (written, told, f"in {AUDIT_LOG} were not reported by the kernel"),
            ):
                if odd := here - there:
                    known = (*kernel.denials, *log_file.denials)
                    example = next(each for each in known if serial(each) in odd)
                    yield (
                        f"{odd.total()} denial(s) {words}, so one of the two cannot be relied on; "
                        f"the first: {example.summary}"
                    )

    def _report_until(
        self, canaries: canary.Canaries, read: Callable[[], str], doubts: list[str]
    ) -> _SourceReport:
        """Return a source's report up to the last canary; without that canary, add a doubt."""
        log, attempts = "", 1 if doubts else None

        @stamina.retry(on=_NotYet, timeout=_CANARY_PATIENCE, attempts=attempts, wait_max=1.0)
        def read_on() -> None:
            nonlocal log
            log = read()
            if f"{canaries.nonce}root" not in log:
                raise _NotYet

        try:
            read_on()
        except Unwatched as error:
            doubts.append(str(error))
            return _SourceReport(error.denials)
        except _NotYet:
            whence = AUDIT_LOG if read == self._read_auditd else "the kernel"
            doubts.append(
                f"a denial provoked on purpose did not come from {whence} of "
                f"{self._node.machine} within {_CANARY_PATIENCE:g} s: denials are not being "
                f"recorded, so silence says nothing (the attempt said: {canaries.said})"
            )
        return self._report_between(log, canaries)

    def _report_between(self, log: str, closed: canary.Canaries) -> _SourceReport:
        """Return the part of the log between the canaries of the window's opening and its end."""
        lines = [each[: audit_records.LONGEST_RECORD] for each in log.splitlines()]
        opening = [n for n, line in enumerate(lines) if self._opened.nonce in line]
        own = {f"{self._opened.nonce}{attempt}" for attempt in canary.ATTEMPTED}
        closing = [n for n, line in enumerate(lines) if closed.nonce in line]
        # From the first one: a user of the node may read its nonce, and repeat it later.
        begin = opening[0] if opening else 0
        until = closing[0] if closing else len(lines)
        others = (line for line in lines[begin:] if not audit_records.DENIED.search(line))
        return _SourceReport(
            tuple(
                denial
                for denial in audit_records.parse("\n".join(lines[begin:until]))
                if denial.fields.get("name") not in own
            ),
            tuple(line.removeprefix(audit_sources.REMARK) for line in others),
            self._opened.found_in(lines),
            closed.found_in(lines),
        )

    def _provoke(self) -> canary.Canaries:
        provoked = canary.provoke(self._node, self._subject)
        if provoked.allowed:
            raise Unwatched(f"the canary was not refused on {self._node.machine}")
        return provoked

    def _state(self) -> audit_sources.AuditState:
        try:
            return audit_sources.state(self._node, AUDIT_LOG)
        except FactError as error:
            raise Unwatched(f"cannot count lost audit records: {error}") from error

    def _read_kernel(self) -> str:
        try:
            text = self._records.text() if self._records else ""
        except FactError as error:
            raise Unwatched(str(error)) from error
        if audit_sources.GAP in text:
            found = _without_canaries(text)
            known = f"; the first of the {len(found)} others: {found[0].summary}" if found else ""
            raise Unwatched(
                "the window had more records than could be read in time or kept, and the missing "
                f"ones may have been denials{known}",
                found,
            )
        return text

    def _read_auditd(self) -> str:
        try:
            return self._log.text()
        except FactError as error:
            raise Unwatched(str(error), _without_canaries(self._log.kept)) from error


def _without_canaries(text: str) -> list[Denial]:
    """Return the denials of a log that nobody provoked to prove that it was watched."""
    return [denial for denial in audit_records.parse(text) if not canary.is_canary(denial)]


def _words(remark: str, count: int) -> list[str]:
    """Return the words of a remark after its first one, even if a part of the line is missing."""
    return [*remark.split(), *["unknown"] * count][1 : count + 1]
