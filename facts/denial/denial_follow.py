"""A node's denials as they come: asked for again and again, from where the last answer ended.

Nothing is left running on the node, and a connection that drops costs nothing: the next question
begins where the last answer ended. Sources: auditd.conf(5) (max_log_file_action), journalctl(1)
(--show-cursor, --after-cursor).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facts.audit import audit_netlink
from facts.audit.audit_log import SEEN
from facts.audit.audit_records import AUDIT_LOG, when_of_bytes
from facts.denial import denial_log
from facts.denial.denial_log import HEADING
from targets.errors import FactError, RemediationError
from targets.transport import at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from facts.audit.audit_records import Denial
    from facts.denial.denial_log import NodesLog
    from facts.denial.denials import Owner
    from targets.transport import Transport

#: How often a node is asked (seconds).
_EVERY = 2.0
#: How often a log is read that is renamed at this very moment.
_ATTEMPTS = 3
#: Where to begin: at the log's end, or with all that it holds.
_END, _ALL = "end", "all"
#: Reads auditd's log from a place in a file (an inode and an offset) to its last whole line,
#: through the files that it was renamed to; or the journal behind a cursor.
_READ = rf"""
state=$(sh -c "$1" audit "$2" "$3") || {{ echo '{HEADING}unread'; state=; }}
printf '%s\n' '{HEADING}state' "$state"
log=$2 folder=${{2%/*}} was=$4 from=$5 seen=$6 cursor=$7 since=$8
{denial_log.PICK}
{SEEN}
part() {{ tail -c "+$(($2 + 1))" -- "$1" | head -c "$(($3 - $2))"; }}
older() {{
    if [ "$was" = {_ALL} ]; then
        ls -1rv "$folder" | while read -r name; do
            case $name in
            audit.log) ;;
            audit.log*.gz) zcat -- "$folder/$name" ;;
            audit.log*) cat -- "$folder/$name" ;;
            esac
        done
    elif [ "$number" ]; then
        tail -c "+$(($from + 1))" -- "$log.$number"
        while [ "$((number -= 1))" -gt 0 ]; do cat -- "$log.$number"; done
    fi
}}
processes() {{
{denial_log.PROCESSES}}}
echo '{HEADING}position'
echo "now $(date +%s)"
case "$state
" in
*"
process "?" "*" auditd
"*)
    number= start=0
    if [ -r "$log" ]; then
        exec 3<"$log"
        now=$(stat -L -c '%i %s' /dev/fd/3)
        inode=${{now% *}} size=${{now#* }}
        case $was in
        "$inode")
            start=$from
            now=$(seen "$from")
            if [ "$size" -lt "$from" ] || [ "${{seen:-$now}}" != "$now" ]; then
                start=0
                echo cut
            fi ;;
        {_END}) start=$((size > 65536 ? size - 65536 : 0)) ;;
        {_ALL} | '') ;;
        *)
            for each in "$log".*; do
                [ "$(stat -c %i -- "$each" 2>/dev/null)" != "$was" ] || number=${{each##*.}}
            done
            case $number in
            '' | *[!0-9]*) number=; echo gone ;;
            esac ;;
        esac
        if [ "$size" -gt "$start" ] &&
            [ "$(part /dev/fd/3 "$((size - 1))" "$size" | tr -d '\n' | wc -c)" -gt 0 ]; then
            size=$((size - $(part /dev/fd/3 "$start" "$size" | tail -n 1 | wc -c)))
        fi
        echo "log $inode $size $(seen "$size")"
        echo '{HEADING}auditd'
        [ "$was" = {_END} ] || {{ older; part /dev/fd/3 "$start" "$size"; }} | pick |
            {{ LC_ALL=C grep -a '' && processes; }}
        case $was in
        "$inode" | {_END}) ;;
        *) [ "$(stat -L -c %i -- "$log" 2>/dev/null)" = "$inode" ] || echo '{HEADING}moved' ;;
        esac
    else
        echo absent
        echo '{HEADING}auditd'
    fi ;;
*)
    if ! command -v journalctl >/dev/null; then
        echo whole
        echo '{HEADING}kernel'
        dmesg | pick
        [ "$was" = {_END} ] || processes
    elif [ "$was" = {_END} ]; then
        echo '{HEADING}kernel'
        journalctl -q --no-pager -n 1 --show-cursor _TRANSPORT=kernel |
            sed -n 's/^-- cursor: /cursor /p'
    else
        if [ "$cursor" ]; then set -- --after-cursor "$cursor"
        else set -- ${{since:+--since "@$since"}}; fi
        echo '{HEADING}kernel'
        journalctl -q --no-pager -o short-unix --show-cursor _TRANSPORT=kernel "$@" |
            pick -e '-- cursor: ' | {{ LC_ALL=C grep -a '' && processes; }}
    fi ;;
esac
echo '{HEADING}end'
"""
_LOG = re.compile(r"^log ([0-9]{1,20}) ([0-9]{1,20})(?: ([0-9a-f]{64}))?$", re.MULTILINE)
_NOW = re.compile(r"^now ([0-9]{1,12})$", re.MULTILINE)
_CURSOR = re.compile(r"^cursor ([\w=;:-]{1,400})$", re.MULTILINE)


@dataclass(frozen=True)
class _Position:
    """How far a node's logs were read.

    Attributes:
        inode: of auditd's log, or where to begin.
        offset: behind its last whole line (bytes).
        seen: a checksum of what is in front of that.
        cursor: the journal's.
        now: the node's own time (Unix time).
        last: the last denial of a kernel's log without a journal, which is read whole each time.
    """

    inode: str
    offset: str = "0"
    seen: str = ""
    cursor: str = ""
    now: str = ""
    last: bytes = b""


class FollowedNode:
    """A node whose denials are asked for again and again; see ``log_follow.Followed``.

    Args:
        node: whose.
        since: what was recorded since then is read, too (Unix time); None: only what comes.
        tell: is told in one line of what happens to the connection and to the log.

    Raises:
        FactError: the log cannot be read.
        TransportError: the node cannot be reached.
    """

    ended = False

    def __init__(
        self, node: Transport, since: float | None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._node, self._tell = node, tell
        self.doubt = self._trouble = ""
        self._absent = 0
        when = "" if since is None else f"{int(since)}"
        self._at = _Position(_END if since is None else _ALL, now=when)
        self._known = self._asked()
        self._first = self._known.lines
        if self._known.note:
            tell(self._known.note)

    @property
    def source(self) -> str:
        """Which log the denials are in: ``auditd`` or ``kernel``."""
        return self._known.source

    def owner(self, denial: Denial, at: float | None) -> Owner | None:
        """Return whose a denial of the last news is; see ``denial_log.NodesLog``."""
        return self._known.owner(denial, at)

    def news(self) -> tuple[bytes, ...]:
        """Return the denials since the last call; none while the node cannot be asked."""
        first, self._first = self._first, ()
        if first:
            return first
        before = self.source
        try:
            self._known = self._asked()
        except RemediationError as error:
            if str(error) != self._trouble:
                self._tell(f"{error}; asking again, from where the last answer ended")
            self._trouble = str(error)
            return ()
        if self._trouble:
            self._tell(f"{self._node.machine} answers again")
        self._trouble = ""
        if self.source != before:
            self._tell(f"the denials of {self._node.machine} go to {self.source} now, not {before}")
        return self._known.lines

    def rest(self) -> tuple[bytes, ...]:
        """See ``log_follow.Followed``: only whole lines are read."""
        if self._trouble and not self.doubt:
            self.doubt = f"what came last was not read: {self._trouble}"
        return ()

    def wait(self) -> None:
        """See ``log_follow.Followed``."""
        time.sleep(_EVERY)

    def close(self) -> None:
        """See ``log_follow.Followed``: nothing runs on the node."""

    def _asked(self) -> NodesLog:
        for _ in range(_ATTEMPTS):
            parts, said = self._answer()
            if "moved" not in parts:
                found = denial_log.parsed(parts, said)
                self._doubt(found, parts)
                return self._moved(found, parts)
        raise FactError(f"{AUDIT_LOG} is rotated while it is read, again and again")

    def _answer(self) -> tuple[dict[str, list[bytes]], str]:
        """Return the lines below each heading of the node's answer, and what it complained of."""
        at = self._at
        ask = (audit_netlink.ASK, AUDIT_LOG, audit_netlink.STATE)
        where = (at.inode, at.offset, at.seen, at.cursor, at.now)
        with at_most(denial_log.LONGEST):
            told = self._node.look(
                ["sh", "-c", _READ, "follow", *ask, *where], timeout=denial_log.PATIENCE
            )
        parts = denial_log.parts_of(told.stdout)
        said = told.stderr.decode(errors="replace").strip()
        if "end" not in parts:
            why = said or f"exit code {told.exit_code}"
            raise FactError(f"the denials of {told.machine} cannot be read: {why}")
        return parts, said

    def _doubt(self, found: NodesLog, parts: Mapping[str, list[bytes]]) -> None:
        """Note why some denials may not have been read, once."""
        position = _text(parts, "position")
        doubt = found.unread
        self._absent = self._absent + 1 if re.search(r"^absent$", position, re.MULTILINE) else 0
        if self._absent > 1 or (self._absent and self._at.inode in (_END, _ALL)):
            doubt = f"auditd takes the records, and {AUDIT_LOG} is not there"
        elif re.search(r"^cut$", position, re.MULTILINE):
            doubt = "it was cut while it was followed: what was in it last is gone"
        elif re.search(r"^gone$", position, re.MULTILINE):
            doubt = (
                "it was renamed to a name without a number: what came before that may be missing"
            )
        if doubt and doubt != self.doubt:
            self.doubt = doubt
            self._tell(f"{found.source}'s log on {self._node.machine}: {doubt}")

    def _moved(self, found: NodesLog, parts: Mapping[str, list[bytes]]) -> NodesLog:
        """Note how far the logs were read; return what is new in the answer."""
        position = _text(parts, "position")
        log = _LOG.search(position) or _LOG.search(_text(parts, "state"))
        cursor = _CURSOR.findall(_text(parts, "kernel"))
        now = _NOW.search(position)
        lines, last = found.lines, self._at.last
        if b"whole" in parts.get("position", []):
            lines = self._new(lines)
            last = found.lines[-1] if found.lines else b""
        self._at = _Position(
            log[1] if log else self._at.inode.replace(_END, "").replace(_ALL, ""),
            log[2] if log else self._at.offset,
            (log[3] or "") if log else self._at.seen,
            cursor[-1] if cursor else self._at.cursor * (found.source == "kernel"),
            now[1] if now else self._at.now,
            last,
        )
        return replace(found, lines=lines)

    def _new(self, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return those of the kernel's whole log that were not told yet."""
        at = self._at
        if at.inode == _END:
            return ()
        if at.last in lines:
            return lines[len(lines) - lines[::-1].index(at.last) :]
        if at.inode == _ALL or self.source == "kernel":
            return lines
        since = float(at.now or 0)  # auditd's log was read until then
        return tuple(each for each in lines if (when_of_bytes(each) or since) >= since)


def _text(parts: Mapping[str, list[bytes]], name: str) -> str:
    return b"\n".join(parts.get(name, [])).decode(errors="replace")
