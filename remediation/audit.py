"""AppArmor's denials over a window of time, and the proof that the window was watched.

A quiet log proves nothing by itself. A :class:`Window` is complete only if the log was readable
from its start to its end, no record was lost, and a canary (a denial provoked on purpose, at
the end) is in it. Source: auditd(8), auditctl(8), kernel Documentation/admin-guide/LSM/apparmor.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import stamina

from remediation import kernel_audit
from remediation.errors import FactError, RemediationError
from remediation.transport import at_most

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from remediation.transport import Transport

_DENIED = re.compile(r'apparmor="DENIED"')
_FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')
#: How long a record may take from the kernel to the log (seconds).
_CANARY_PATIENCE = 20.0
_CANARY = "canary"
_AUDIT_LOG = "/var/log/audit/audit.log"
#: Stands behind what could not be read to its end: a pipe's exit code is that of its last program.
_CUT = "docker-lxc-gate: not read to its end"
_DENIALS = f"""
exec 3<"$1" || exit 2
{{ tail -c "+$2" <&3 || echo '{_CUT}'; }} | grep -a -e 'apparmor="DENIED"' -e '{_CUT}' || [ $? = 1 ]
"""
#: Denials of one file of the log (bytes).
_LONGEST = 64 << 20
_RECENT = f"""
if systemctl is-active -q auditd; then tail -c 1000000 {_AUDIT_LOG}
else journalctl -k -b -q --no-pager -o cat; fi | grep -a 'apparmor="DENIED"'
"""
#: Values which the kernel writes in hexadecimal when they hold a blank or a quote.
_MAY_BE_HEX = frozenset({"name", "comm", "profile", "srcname", "peer"})


class Unwatched(RemediationError):
    """The log cannot tell whether anything was denied: the verdict is undetermined."""


class _NotYet(Exception):
    """The canary is on its way from the kernel to the log."""


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
        return " ".join(f'{k}="{self.fields[k]}"' for k in wanted if k in self.fields)


@dataclass(frozen=True)
class _Position:
    """Where denials go, how many records were lost till now, and where auditd's log ends."""

    source: str
    lost: int
    inode: str = ""
    size: int = 0


def parse(log: str) -> list[Denial]:
    """Return the AppArmor denials in a stretch of log, oldest first."""
    return [
        Denial(
            {key: _value(key, quoted, bare) for key, quoted, bare in _FIELD.findall(line)},
            line.strip(),
        )
        for line in log.splitlines()
        if _DENIED.search(line)
    ]


def _value(key: str, quoted: str, bare: str) -> str:
    if bare and key in _MAY_BE_HEX and re.fullmatch(r"(?:[0-9A-F]{2})+", bare):
        return bytes.fromhex(bare).decode(errors="replace")
    return quoted or bare


class Window:
    """A stretch of a node's log, from the moment this is made until :meth:`close`.

    Whoever makes one calls :meth:`end` when done, whatever has happened: of the kernel's records
    it holds a process on the node.

    Args:
        node: whose log.
        source: where denials are read, in the log of ``auditd`` or from the ``kernel`` itself;
            ``auto`` looks whether auditd runs.

    Raises:
        Unwatched: they cannot be read there.
    """

    def __init__(self, node: Transport, source: str = "auto") -> None:
        self._node, self._asked = node, source
        self._told = 0
        self._records: kernel_audit.Records | None = None
        self._start = self._position()
        if self.source == "kernel":
            try:
                self._records = kernel_audit.Records(node)
            except FactError as error:
                raise Unwatched(str(error)) from error

    @property
    def source(self) -> str:
        """``auditd`` or ``kernel``: where this node's denials are read."""
        return self._start.source

    @property
    def _whence(self) -> str:
        return "the kernel" if self._records else _AUDIT_LOG

    def news(self) -> list[Denial]:
        """Return the denials that have come since the window opened or this was last asked.

        Raises:
            Unwatched: the log cannot be read.
        """
        found = parse(self._read())
        new, self._told = found[self._told :], len(found)
        return new

    def close(self) -> list[Denial]:
        """Return every denial in the window, the canary's left out. The window ends, too.

        Raises:
            Unwatched: the log was not readable to its end, lost records, changed its place,
                or does not show the canary.
        """
        nonce = f"{_CANARY}{secrets.token_hex(8)}"
        try:
            denials = self._until_canary(nonce)
        except Unwatched:
            self._require_whole()  # records that were lost explain a canary that does not come
            raise
        finally:
            self.end()
        self._require_whole()
        return [denial for denial in denials if nonce not in denial.line]

    def end(self) -> None:
        """End the window, if it has not ended, without asking what was in it."""
        if self._records:
            self._records.close()

    def _require_whole(self) -> None:
        """Raise Unwatched if the log changed its place in the window, or lost records."""
        end = self._position()
        if end.source != self._start.source:
            raise Unwatched(
                f"denials went to {self._start.source} when the window opened and to "
                f"{end.source} when it closed"
            )
        if end.lost != self._start.lost:
            held = (
                "; one booted with audit=1 counts those, too, that no longer fit into the queue "
                "that it keeps for an auditd: run one, or boot without"
            )
            raise Unwatched(
                f"the kernel lost {end.lost - self._start.lost} audit records in the window "
                f"(auditctl -s: lost){held if self._records else ''}: what they said is not known"
            )

    def _until_canary(self, nonce: str) -> list[Denial]:
        provoked = self._provoke(nonce)

        @stamina.retry(on=_NotYet, timeout=_CANARY_PATIENCE, attempts=None, wait_max=1.0)
        def read_on() -> str:
            log = self._read()
            if nonce not in log:
                raise _NotYet
            return log

        try:
            return parse(read_on())
        except _NotYet:
            raise Unwatched(
                f"a denial provoked on purpose did not come from {self._whence} of "
                f"{self._node.machine} within {_CANARY_PATIENCE:g} s: denials are not being "
                f"recorded, so silence says nothing (the attempt said: {provoked})"
            ) from None

    def _provoke(self, nonce: str) -> str:
        """Ask to run under a profile that does not exist.

        The kernel refuses and logs it as a denial; nothing on the node changes (kernel
        security/apparmor/domain.c, aa_change_profile: "label not found").
        """
        result = self._node.run(["aa-exec", "-p", nonce, "--", "true"])
        if result.ok:
            raise Unwatched(f"the canary was not refused on {self._node.machine}")
        return result.stderr.decode(errors="replace").strip()

    def _position(self) -> _Position:
        source, lost = self._asked, self._lost()
        if self._records:  # the kernel tells us and auditd alike, should that have come meanwhile
            source = "kernel"
        elif source == "auto":
            active = self._node.run(["systemctl", "is-active", "auditd"]).text.strip()
            source = "auditd" if active == "active" else "kernel"
        if source == "auditd":
            where = self._node.run(["stat", "-c", "%i %s", _AUDIT_LOG])
            if not where.ok:
                raise Unwatched(
                    f"denials go to auditd on {self._node.machine}, but {_AUDIT_LOG} cannot be read"
                )
            inode, size = where.text.split()
            return _Position(source, lost, inode=inode, size=int(size))
        return _Position(source, lost)

    def _lost(self) -> int:
        try:
            return kernel_audit.lost(self._node)
        except FactError as error:
            raise Unwatched(f"nobody says how many audit records were lost: {error}") from error

    def _read(self) -> str:
        return self._read_kernel(self._records) if self._records else self._read_auditd()

    def _read_kernel(self, records: kernel_audit.Records) -> str:
        try:
            text = records.text()
        except FactError as error:
            raise Unwatched(str(error)) from error
        if kernel_audit.GAP in text:
            found = [denial for denial in parse(text) if _CANARY not in denial.line]
            known = f"; the first of the {len(found)} others: {found[0].summary}" if found else ""
            raise Unwatched(
                "there was more in the window than could be read in time, or kept: what the "
                f"missing records said is not known{known}"
            )
        return text

    def _read_auditd(self) -> str:
        """Read from where the window opened, through a rotation in between."""
        files = self._node.run(
            ["find", "/var/log/audit", "-name", "audit.log*", "-printf", "%i %p\\n"]
        ).require()
        paths = dict(line.split(" ", 1) for line in files.text.splitlines())
        if self._start.inode not in paths:
            raise Unwatched("audit.log of the window's start was rotated away or removed")
        first = paths[self._start.inode]
        named = re.fullmatch(rf"{re.escape(_AUDIT_LOG)}(?:\.(\d+))?", first)
        if named is None:  # logrotate's dates: in which order they are is not said
            raise Unwatched(f"audit.log of the window's start was rotated to {first}")
        number = int(named[1] or 0)
        newer = [f"{_AUDIT_LOG}.{n}" for n in range(number - 1, 0, -1)]
        newer += [_AUDIT_LOG] if number else []
        parts = [self._denied(first, self._start.size + 1)]
        return "".join(parts + [self._denied(path) for path in newer])

    def _denied(self, path: str, first_byte: int = 1) -> str:
        """Return the denials in a file of the log, or in its end.

        Of the other records nothing leaves the node: command lines are among them.
        """
        with at_most(_LONGEST):
            found = self._node.run(["sh", "-c", _DENIALS, "denials", path, str(first_byte)])
        if not found.ok or _CUT in found.text:
            why = found.stderr.decode(errors="replace").strip()
            raise Unwatched(f"{path}, a part of the window, cannot be read to its end: {why}")
        return found.text


def recent(node: Transport, profile: str) -> list[Denial]:
    """Return the denials under a profile at the end of the log, oldest first.

    That is no window: it shows what was denied, and never that nothing was.

    Args:
        node: whose log.
        profile: of all containers that share it.
    """
    log = node.run(["sh", "-c", _RECENT]).text
    return [denial for denial in parse(log) if denial.profile == profile]


def attribute(
    node: Transport,
    denial: Denial,
    profiles: Mapping[int, str],
    parents: Mapping[int, int] = MappingProxyType({}),
) -> int | None:
    """Return the container that a denial belongs to, or None if nobody can say.

    A generated profile names its container; a named one is shared, so the process is asked for
    its cgroup while it lives, then its next ancestor that does, and else whether only one container
    runs under the profile.

    Args:
        node: where the process ran.
        denial: the record.
        profiles: the profile of each running container, by ctid.
        parents: of processes that are gone, see :mod:`remediation.lineage`.
    """
    text = f"{denial.profile} {denial.fields.get('namespace', '')}"
    if generated := re.search(r"\blxc-(\d+)_<", text):
        return int(generated[1])
    pid = denial.fields.get("pid", "")
    for ancestor in _ancestry(int(pid), parents) if pid.isdigit() else ():
        if not (cgroup := node.read(f"/proc/{ancestor}/cgroup")):
            continue
        if found := re.search(rb"/lxc(?:\.payload\.|/)(\d+)(?:/|\s|$)", cgroup):
            return int(found[1])
        if ancestor == int(pid):
            return None
        break  # the node's own: who enters a container is started from outside
    sharing = [ctid for ctid, profile in profiles.items() if profile == denial.profile]
    return sharing[0] if len(sharing) == 1 else None


def _ancestry(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    """Yield a process, its parent, and so on; numbers are used again, so each but once."""
    seen: set[int] = set()
    while pid and pid not in seen:
        seen.add(pid)
        yield pid
        pid = parents.get(pid, 0)


def smallest_rule(denial: Denial) -> str:
    """Return the smallest profile rule that would have allowed what was denied."""
    said = denial.fields
    operation, name = said.get("operation", ""), said.get("name", "")
    if operation in {"mount", "umount", "remount"}:
        parts = [operation]
        if flags := said.get("flags"):
            parts.append(f"options=({flags.replace(' ', '')})")
        if fstype := said.get("fstype"):
            parts.append(f"fstype={fstype}")
        if operation == "mount":
            parts += [f"{said['srcname']}"] if said.get("srcname", "").startswith("/") else []
            return " ".join([*parts, "->", f"{name},"])
        return " ".join([*parts, f"{name},"])
    if family := said.get("family"):
        return f"network {family} {said.get('sock_type', '')}".rstrip() + ","
    rules = {
        "pivotroot": f"pivot_root {name},",
        "capable": f"capability {said.get('capname', '?')},",
        "ptrace": f"ptrace ({said.get('denied_mask', '?')}) peer={said.get('peer', '?')},",
    }
    of_file = f"{name} {said.get('denied_mask', '?')}," if name.startswith("/") else ""
    return rules.get(operation) or of_file or f"a rule for {operation} ({denial.summary})"
