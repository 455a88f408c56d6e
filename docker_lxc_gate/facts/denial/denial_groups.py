"""Denials counted by what was tried: many records of one attempt are one line for a reader.

What is kept does not grow with the log: one record of each kind, and a bounded number of kinds.
Lines may hold a denial in another form than the kernel's: as programs show it, or forums. What can
be read without a doubt is given the kernel's form. Sources: journalctl(1), grep(1), systemd's
"Journal Export Formats".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from docker_lxc_gate import patterns
from docker_lxc_gate.facts import confinement
from docker_lxc_gate.facts.audit import canary
from docker_lxc_gate.facts.audit.audit_files import BYTES, STATUS
from docker_lxc_gate.facts.audit.audit_records import (
    DENIED,
    LONGEST_RECORD,
    MARK,
    Denial,
    records,
    when,
)
from docker_lxc_gate.facts.denial.denial_class import KNOWN, PLACES, alike

if TYPE_CHECKING:
    from docker_lxc_gate.facts.denial.denial_log import Owner

#: What colours a terminal's text, also as cat -v and rsyslog write it.
_COLOUR = patterns.compile(r"(?:\x1b|\^\[|#033)\[[0-9;]{0,40}[mK]")
#: What stands in front if no denial is meant: a field next to the journal's message, a command, a
#: record of another type, in which a process may have chosen the words.
_OTHER = patterns.compile(
    r"_audit_field_$|\bcommand=|\btype=(?:1[0-3][0-9]{2}|2[0-9]{3}|syscall|execve|path|cwd|proctitle|"
    r"sockaddr|obj_pid|tty|service_\w+|user_(?:cmd|auth|acct|start|end|login|tty)) "
)
#: The rest of a line that was broken within ``apparmor="DENIED"`` or ``"KILLED"``.
_BROKEN = patterns.compile(
    r'[\s>|]*(?:(?:[a-z]{0,8}=)?"?(?:DENIED|KILLED)|[EI]?[NL]?[IL]?E?D)" operation="'
)


#: A line of aa-log (apparmor.d), pkg/logs/logs.go: what has no name there, and then fields.
_AA_LOG = patterns.compile(
    r'DENIED +(?P<profile>"[^"]+"|[^\s"=]+) (?P<operation>[a-z_]+)(?P<owner> owner)?'
    r'(?: (?P<name>"[^"]+"|[^\s"=]+))?(?: -> (?P<target>"[^"]+"|[^\s"=]+))?'
    r'(?: (?P<mask>send|receive|bind|eavesdrop))?(?P<rest>(?: [a-z_]+=(?:"[^"]*"|[^\s"]+))+) *'
)
#: The variables that stand there for one directory each; others stand for several.
_OF_AA_LOG = {"@{PROC}": "/proc", "@{sys}": "/sys", "@{run}": "/run"}


class Unreadable(Exception):
    """A line may hold a denial that cannot be read; the text says what to change."""


def restored(line: str) -> str:
    """Return a line in the kernel's form; empty: no denial. Raises Unreadable if it may be one."""
    text = _COLOUR.sub("", line)
    if not DENIED.search(text) and (texts := _of_json(text)):
        message = " ".join(filter(None, map(_plain, texts)))
        if message or '"MESSAGE"' in text:  # the other fields of a journal's entry say it again
            return message
    if any(sign in text for sign in BYTES):
        raise Unreadable("the message stands here as numbers: use journalctl -o short")
    left_out = '"MESSAGE":null' in text and patterns.search('"_TRANSPORT":"(?:kernel|audit)"', text)
    if left_out or text.strip() == '"MESSAGE" : [':
        raise Unreadable("journalctl left this message out: use journalctl -o json --all")
    return _plain(text)


def _plain(text: str) -> str:
    head, word, _ = text.lower().partition("apparmor")
    if match := _AA_LOG.fullmatch(text):
        return _of_aa_log(match)
    if not word and _BROKEN.match(text):
        raise Unreadable(f"the line was broken within {MARK}: join it with the line before")
    if not word or _OTHER.search(head):
        return ""
    if DENIED.search(text) or STATUS.search(text):
        return text
    if not patterns.search("DENIED|KILLED", text):
        return ""
    if patterns.search("apparmor=(?:DENIED|KILLED)", text):
        # A process chose some values, and without quotes their ends cannot be seen.
        raise Unreadable("names stand here without quotes: use ausearch without -i")
    raise Unreadable(f"a denial is a whole line with {MARK}, as the log itself has it")


def _of_aa_log(line: patterns.Match[str]) -> str:
    """Return a line of aa-log as the kernel's record."""
    rest = patterns.findall(r'([a-z_]+)=("[^"]*"|\S+)', line["rest"])
    named = [(key, line[key]) for key in ("operation", "profile", "name", "target", "mask")]
    fields = {key: value.strip('"') for key, value in (*named, *rest) if value}
    for key in PLACES:
        for variable, directory in _OF_AA_LOG.items() if key in fields else ():
            fields[key] = fields[key].replace(variable, directory)
        if "@{" in fields.get(key, ""):
            fields["info"] = "aa-log wrote a variable"
    fields |= {"fsuid": "0", "ouid": "0"} if line["owner"] else {}
    return MARK + "".join(f' {key}="{value}"' for key, value in fields.items())


def _of_json(text: str) -> list[str]:
    """Return the texts in JSON, of a journal's entry its message; none: it is no JSON."""
    part = text.strip().removeprefix("data: ").removesuffix(",")
    for document in (part, f"{{{part}}}", f"[{part}]") if part[:1] in '{["' else ():
        try:
            return [*_texts(json.loads(document))]
        except (ValueError, RecursionError):
            continue
    return []


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value of JSON; of a journal's entry, its message alone."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and value and all(isinstance(number, int) for number in value):
        yield bytes(number & 255 for number in value).decode(errors="replace")
    elif isinstance(value, dict):
        for item in [value["MESSAGE"]] if "MESSAGE" in value else value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


#: More kinds than anybody reads: of a further one only profile and operation are told apart.
_MOST_KINDS = 5000
#: Programs that are named, and unreadable lines that are kept.
_PROGRAMS, _UNREAD = 4, 3
#: A refused change of policy is recorded as a status with an error: EPERM or EACCES.
_REFUSED = patterns.compile(r" error=-(?:1|13) ")


@dataclass
class Group:
    """All denials of one kind, of which ``denial`` is one.

    ``first`` and ``last`` are Unix times; None if no record tells its time. ``programs`` are the
    first few names that the processes give themselves. ``several``: the denials' names differ in an
    id, such as a process's. ``merged``: they differ in more, since there were too many kinds.
    """

    denial: Denial
    owner: Owner | None = None
    count: int = 0
    first: float | None = None
    last: float | None = None
    programs: list[str] = field(default_factory=list)
    several: bool = False
    merged: bool = False

    @property
    def readable(self) -> bool:
        """Whether the record says what was tried."""
        return bool(self.denial.fields.get("operation"))

    def add(self, at: float | None) -> None:
        """Count one more, of a time."""
        self.count += 1
        if at is not None:
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)


class Tally:
    """Counts denials, line by line.

    ``owner`` says whose a denial is, given its time.
    Older ones than ``since`` (Unix time) are not counted; those that tell no time are.

    Those ``provoked`` on purpose by this project's gate are no kind; ``imitable`` are those of them
    under a profile, where a guest can imitate the gate. So many lines are ``unreadable``, and may
    hold a denial; ``unread`` has the first few of them, each with what to change.
    """

    def __init__(
        self,
        owner: Callable[[Denial, float | None], Owner | None],
        since: float | None = None,
    ) -> None:
        self._owner, self.since = owner, since
        self._kinds: dict[tuple[object, ...], Group] = {}
        self.provoked = self.imitable = self.unreadable = 0
        self.unread: dict[str, str] = {}

    def kinds(self) -> list[Group]:
        """Return the kinds, as they came."""
        return list(self._kinds.values())

    def groups(self) -> list[Group]:
        """Return the kinds, the most frequent first; at the end what cannot be read."""
        return sorted(
            self._kinds.values(), key=lambda kind: (not kind.readable, -kind.count, kind.first or 0)
        )

    def count(self, lines: Iterable[bytes]) -> None:
        """Count the denials in lines, of which a cheap look says that they may hold some."""
        for line in map(self._restored, lines):
            if _DENIED not in line and _KILLED not in line and b" error=-1" not in line:
                continue
            text = line.decode(errors="replace")
            denials = records(text)
            if _STATUS in line:
                refused = (entry for entry in records(text, STATUS) if _REFUSED.search(entry.line))
                denials += refused
            for denial in denials:
                self._add(denial)

    def _restored(self, line: bytes) -> bytes:
        """Return a line in the kernel's form, if it holds a denial that can be read."""
        marked = any(mark in line for mark in (_DENIED, _KILLED, _STATUS))
        if marked and not any(sign in line for sign in _DOUBTFUL):
            return line
        text = line.decode(errors="replace")
        try:
            return restored(text).encode(errors="replace")
        except Unreadable as why:
            self.unreadable += 1
            if len(self.unread) < _UNREAD:
                self.unread[text[:LONGEST_RECORD]] = str(why)
            return b""

    def _add(self, denial: Denial) -> None:
        at = when(denial.line)
        if self.since is not None and at is not None and at < self.since:
            return
        if canary.is_canary(denial) or confinement.caused_by_attempt(denial):
            self.provoked += 1
            self.imitable += not denial.is_unconfined
            return
        group = self._kind(denial, self._owner(denial, at))
        group.add(at)
        program = denial.fields.get("comm")
        if program and len(group.programs) < _PROGRAMS:
            group.programs = list(dict.fromkeys((*group.programs, program)))

    def _kind(self, denial: Denial, owner: Owner | None) -> Group:
        fields = denial.fields
        own = fields.get("fsuid") and fields.get("fsuid") == fields.get("ouid")
        places = [alike(fields.get(key, "")) for key in PLACES]
        if "operation" in fields:
            key = (owner, own, denial.whole, *places, *map(fields.get, KNOWN.fields["tried"]))
        else:
            key = (owner,)
        merged = key not in self._kinds and len(self._kinds) >= _MOST_KINDS
        if merged:
            key = ("merged", fields.get("profile"), fields.get("operation"))
            if key not in self._kinds and len(self._kinds) >= 2 * _MOST_KINDS:
                key = ("merged",)
            denial, owner = replace(denial, whole=False), None
        group = self._kinds.setdefault(key, Group(denial, owner, merged=merged))
        first = group.denial.fields
        group.several |= any(fields.get(place) != first.get(place) for place in PLACES)
        return group


_DENIED, _KILLED, _STATUS = (b'apparmor="%b"' % word for word in (b"DENIED", b"KILLED", b"STATUS"))
#: Colours, or the words of a command, in which the mark may be a name that was searched for.
_DOUBTFUL = (b"\x1b", b"COMMAND=", b"proctitle=", b" argc=")
