"""The messages that doctor knows, in a pasted text and in Docker's journal: ``messages.toml``.

A pasted text without one may still hold a sign of what was refused, in the same table.

A text is somebody else's. It is read as it comes from a terminal, a journal or a web page: with
colours, escaped quotes, and lines broken at the terminal's width.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor import guest_reads
from docker_lxc_gate.doctor.case import PROBLEMS, Case, Diagnosis, Unseen, script, told
from docker_lxc_gate.doctor.message_table import MESSAGES, SIGNS, TABLE, Message
from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.facts.denial.denial_answers import wanted, who
from docker_lxc_gate.facts.denial.denial_class import Record
from docker_lxc_gate.facts.denial.denial_log import named_container
from docker_lxc_gate.lint.finding import Finding, Problem, Severity
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult

#: So much of a text is read (bytes), and so much is shown on each side of a message (characters).
MOST, _AROUND = 1 << 20, 160
#: Of what Docker said so many lines are looked at, and of each so much (characters).
_MOST_LINES, _LONGEST = 5000, 2000
#: Where a terminal broke a line.
_BROKEN = patterns.compile(r"""([^\n]{60})\n {0,8}([a-z/"(])""")
#: A terminal's commands, as such and as ``cat -v`` and syslog write them.
_COMMAND = patterns.compile(
    r"(?:\x1b|\^\[|#033)(?:\[[0-9;:?]{0,40}[A-Za-z]|\][^\x07\x1b\n]{0,200}(?:\x07|\x1b\\)|[()][AB0])"
)
#: A line in which Podman or compose warns of something, or LXC tells what it does: the cause is in
#: another one, which may be a hook's own.
_WARNS = patterns.compile(
    r"(?m)^(?:(?:WARN|INFO|DEBU)\[[0-9]{4,}\]|"
    r".{0,120}\b(?:NOTICE|INFO|DEBUG|TRACE) {1,8}\w{1,40} - ).*\n?"
)
#: What a hook of LXC's said; of several, the last one ended the start.
_HOOK_SAID = patterns.compile(r"produced output: (.{1,300})")
#: The problems that are guessed at no more once the kernel's own line names one.
_OF_KERNEL, _OF_HOOK = "denied-lately", "hook-failed"
#: The container that a line of LXC's or Proxmox's is about, by its number.
_ABOUT = patterns.compile(
    r"""(?:\blxc-start:? |\bcontainer ['"]?|\bCT |\bpct [a-z]+ )([0-9]{3,9})\b"""
)
#: The profiles and programs of those who run containers.
_RUNS_CONTAINERS = patterns.compile(
    r"\b(lx[cd]|incus|docker|container(d|s-default)|runc|crun|crio|podman|buildah|nerdctl|rootlesskit)"
)
#: What compose writes before each line.
_PREFIX = patterns.compile(r"(?m)^[\w.-]{1,80} {0,40}\| ")
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2018\u2019\u201a", "'"),
        **dict.fromkeys("\u00a0\u2007\u202f\t", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\r"),
    }
)


@dataclass(frozen=True)
class Said:
    """A message, the line that holds it, and what the groups of its pattern found there."""

    message: Message
    line: str
    groups: tuple[Any, ...]

    @property
    def means(self) -> Problem:
        """The problem that it means."""
        return PROBLEMS[self.message.problem]

    @property
    def module(self) -> str:
        """The kernel module that is missing, if the message is about one."""
        return self.message.module.format(*(group or "" for group in self.groups))

    def finding(self, cause: str, severity: Severity | None = None) -> Finding:
        """Return the problem, with the command that makes sure; see :class:`Finding`."""
        fix = (self.message.fix or self.means.fix).replace("MODULE", self.module)
        fix = f"To make sure, {self.message.sure}. {fix}"
        return self.means.here(cause, why=self.message.why, fix=fix, severity=severity)


_PATTERNS = tuple((message, patterns.compile(message.pattern)) for message in MESSAGES)
_OF_DOCKER = [message for message in MESSAGES if message.docker]
_REFUSALS = ["|".join(TABLE.refusals.get(n, n) for n in sign.refused) for sign in SIGNS]
_REFUSED = patterns.compile(f"(?i){'|'.join(dict.fromkeys(_REFUSALS))}")
_DONE = [
    (sign, patterns.compile(f"(?i){sign.pattern}"), patterns.compile(f"(?i){refused}"))
    for sign, refused in zip(SIGNS, _REFUSALS, strict=True)
]
#: The problems that Docker's own messages mean.
OF_DOCKER = tuple(dict.fromkeys(message.problem for message in _OF_DOCKER))
#: Whether a line may be one of them: a gap of any length takes less memory than one of a few.
_ANY_OF_DOCKER = patterns.compile(
    "|".join(patterns.sub(r"\.\{[0-9]+,[0-9]+\}", ".*", row.pattern) for row in _OF_DOCKER)
)


def _of_docker(result: CommandResult) -> tuple[str, ...]:
    """Return what Docker's present or last run said, as far as it is known."""
    lines = (line[:_LONGEST] for line in told(result).text.splitlines())
    return tuple(line for line in lines if _ANY_OF_DOCKER.search(line))[-_MOST_LINES:]


READ = Read(script("docker_messages"), _of_docker)


def said(case: Case, *problems: str) -> Iterator[Said]:
    """Yield what Docker said of some problems: of its containers first, then newest first.

    Raises RemediationError if the journal could not be read.
    """
    wanted = [pair for pair in _PATTERNS if pair[0].problem in problems]
    for line in guest_reads.failures(case.guest.maybe(guest_reads.CONTAINERS, ())):
        yield from _found(line, wanted)
    for line in reversed(case.guest.of(READ)):
        yield from _found(line, wanted)


def _found(text: str, wanted: Any = _PATTERNS) -> Iterator[Said]:
    """Yield each message that is in a text; none where a more specific one was found."""
    taken = bytearray(len(text))
    for message, pattern in wanted:
        first = None
        for match in pattern.finditer(text):
            start, end = match.span()
            if taken.find(1, start, end) < 0:
                first = first or match
                taken[start:end] = b"\1" * (end - start)
        if first:
            yield Said(message, _around(text, *first.span()), first.groups())


def _likely(text: str) -> Iterator[Said]:
    """Yield the signs of what was refused: the first one in LXC's log, elsewhere one a line."""
    innermost = patterns.search(TABLE.innermost_first, text)
    places = [match.span() for match in _REFUSED.finditer(text)][:: 1 if innermost else -1]
    lines = dict.fromkeys(_around(text, *place, 3 * _AROUND) for place in places[:_MOST_LINES])
    harmful = [line for line in lines if not patterns.search(TABLE.harmless, line)]
    for line in harmful[:_AROUND]:
        near: dict[int, Said] = {}
        for sign, done, refused in _DONE:
            for match in done.finditer(line):
                for start, end in (refusal.span() for refusal in refused.finditer(line)):
                    gap = max(start - match.end(), match.start() - end, 0) // 40
                    near.setdefault(gap, Said(sign, line, match.groups()))
        if near:
            yield near[min(near)]
            if innermost:
                return


def _around(text: str, start: int, end: int, most: int = _AROUND) -> str:
    """Return the line that a part of a text stands in, as far as it is near."""
    first = text.rfind("\n", max(0, start - most - 1), start) + 1
    last = text.find("\n", end, end + most + 1)
    last = last if last >= 0 else len(text)
    before, after = text[max(first, start - most) : start], text[end : min(last, end + most)]
    if start - most > first:
        before = "…" + before[before.find(" ") + 1 :]
    if end + most < last:
        after = after[: after.rfind(" ") + 1].rstrip() + "…"
    return (before + text[start:end] + after).strip()


def diagnose(text: str) -> Diagnosis:
    """Return the problems whose messages are in a text, most specific first, or a guess at one.

    A message may be broken at a terminal's width, with or without a blank at the break.
    """
    plain = plain_text(text)
    without = _WARNS.sub(lambda line: line[0] if _HOOK_SAID.search(line[0]) else "", plain)
    plain = without if without.strip() else plain
    hooks = _HOOK_SAID.findall(plain)
    messages = _messages(plain)
    guesses = [match for match in messages if match.message.guess]
    named = [match for match in messages if not match.message.guess]
    certain = [match for match in named if not match.message.vague]
    kernel = [match for match in named if match.message.problem == _OF_KERNEL]
    denials = audit_records.parse(plain) if kernel else []
    about = set(_ABOUT.findall(plain))
    own = [denial for denial in denials if _belongs(denial, about)]
    if denials and not own:  # they name nothing, unless nothing else does
        named, kernel = [*(match for match in named if match not in kernel), *kernel], []
        lines = plain.split("\n")
        plain = "\n".join(line for line in lines if not audit_records.DENIED.search(line))
    if kernel or not all(match.message.problem == _OF_HOOK for match in certain):
        guesses = []
    elif not guesses:
        guesses = _signs("\n".join(hooks) if certain else plain)
    if len({match.message.problem for match in guesses}) > 1:  # they contradict each other
        guesses = []
    named = certain or kernel or ([] if guesses else named[:1])
    problems = {}
    for match in reversed(named):
        line = match.line
        if hooks and match.message.problem == _OF_HOOK:
            line = f"it said: {hooks[-1]}"
        elif match.message.problem == _OF_KERNEL and denials:
            fields = (own or denials)[-1].fields
            line = f"{who([fields.get('comm', 'a process')])} wanted to {wanted(fields)}"
        cause = f"{match.means.title}: {line}"
        problems[match.message.problem] = match.finding(cause, Severity.SEEN)
    perhaps = (
        match.finding(f"perhaps {match.means.title}: {match.line}", Severity.ADVICE)
        for match in guesses[:1]
    )
    return Diagnosis((*reversed(problems.values()), *perhaps), () if problems else (_UNKNOWN,))


def _messages(plain: str) -> list[Said]:
    """Return the messages of a text that say something there, most specific first."""
    indented = "".join(line.lstrip(" ") for line in plain.split("\n"))
    joined = (" ".join(plain.split()), plain.replace("\n", ""), indented)
    matches: dict[str, Said] = {}
    for variant in (plain, *joined):
        for match in _found(variant):
            matches.setdefault(match.message.text, match)
    named = [matches[message.text] for message in MESSAGES if message.text in matches]
    if _foreign(plain):  # a certain message counts, unless its own line is of that world
        certain = [m for m in named if not (m.message.guess or m.message.vague)]
        own = [m for m in certain if not patterns.search(TABLE.elsewhere, m.line)]
        named = [m for m in named if m in own or _foreign(m.message.text)]
    of_hook = [match for match in named if match.message.problem == _OF_HOOK]
    failed = "Script exited" in plain or any(match.message.vague for match in of_hook)
    if "ERROR" in plain and not failed:  # the hook ended well
        named = [match for match in named if match not in of_hook]
    return named


def _signs(plain: str) -> list[Said]:
    """Return the signs of what was refused; of a broken text, if it shows none as it is."""
    if _foreign(plain):
        return []
    tried = dict.fromkeys((plain, _BROKEN.sub(lambda match: f"{match[1]} {match[2]}", plain)))
    return next(filter(None, ([*_likely(text)] for text in tried)), [])


def _foreign(text: str) -> bool:
    """Whether a text is of another world than LXC's, such as Kubernetes, and of LXC not at all."""
    elsewhere = patterns.search(TABLE.elsewhere, text)
    return bool(elsewhere and not patterns.search(TABLE.of_lxc, text))


def _belongs(denial: audit_records.Denial, about: set[str]) -> bool:
    """Whether a denial may be of the container that a text is ``about``; none: of any container."""
    if name := named_container(denial):
        return name in (about or {name})
    names = f"{denial.profile} {denial.fields.get('comm', '')}"
    of_container = Record(denial.fields).of_container or _RUNS_CONTAINERS.search(names)
    return bool(of_container) or not denial.profile


_UNKNOWN = Unseen(
    "the cause of this text",
    "no message that names it is known to doctor; next: docker-lxc-gate doctor --target "
    'root@pve1/950, and for lines with apparmor="DENIED": docker-lxc-gate denials -',
)


#: The number of no character. Python refuses to read one of thousands of digits.
_NO_CHARACTER = patterns.compile("&#[0-9]{100,};?")


def plain_text(text: str) -> str:
    """Return a text without colours, escapes and prefixes."""
    for _ in range(3):  # msg="… error=\"…\\\"…"
        text = text.replace("\\\\", "\\").replace('\\"', '"').replace("\\'", "'")
    text = _NO_CHARACTER.sub("\ufffd", text.replace("\\n", "\n").replace("\\t", " "))
    text = html.unescape(text)
    return _PREFIX.sub("", _COMMAND.sub("", text).translate(_PLAIN))
