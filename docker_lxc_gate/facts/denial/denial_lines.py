"""Lines that hold a denial in another form than the kernel's: as programs show it, or forums.

What can be read without a doubt is given the kernel's form. Sources: journalctl(1) and systemd's
"Journal Export Formats", grep(1).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.facts.audit.audit_files import BYTES, STATUS
from docker_lxc_gate.facts.audit.audit_records import MARK
from docker_lxc_gate.formats import html_text

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What colours a terminal's text, also as cat -v and rsyslog write it.
_COLOUR = patterns.compile(r"(?:\x1b|\^\[|#033)\[[0-9;]{0,40}[mK]")
_CURLY = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\uff02\u00ab\u00bb", '"'))
#: What stands in front if no denial is meant: a field next to the journal's message, a command, a
#: record of another type, in which a process may have chosen the words.
_OTHER = patterns.compile(
    r"_audit_field_$|\bcommand=|\btype=(?:1[0-3][0-9]{2}|2[0-9]{3}|syscall|execve|path|cwd|proctitle|"
    r"sockaddr|obj_pid|tty|service_\w+|user_(?:cmd|auth|acct|start|end|login|tty)) "
)
#: The rest of a line that was broken within ``apparmor="DENIED"``.
_BROKEN = patterns.compile(r'[\s>|]*(?:[a-z]{0,8}="DENIED|"?DENIED|E?N?I?E?D)" operation="')


class Unreadable(Exception):
    """A line may hold a denial that cannot be read; the text says what to change."""


@foreign.parser(raises=(Unreadable,))
def restored(line: str) -> str:
    """Return a line in the kernel's form; empty: it holds no denial.

    Raises:
        Unreadable: it may hold one.
    """
    text = _COLOUR.sub("", line)
    if MARK not in text and (texts := _of_json(text)):
        found = " ".join(filter(None, map(_plain, texts)))
        if found or '"MESSAGE"' in text:  # the other fields of a journal's entry say it again
            return found
    if BYTES in text:
        raise Unreadable("the message stands here as numbers: use journalctl -o short")
    left_out = '"MESSAGE":null' in text and patterns.search('"_TRANSPORT":"(?:kernel|audit)"', text)
    if left_out or text.strip() == '"MESSAGE" : [':
        raise Unreadable("journalctl left this message out: use journalctl -o json --all")
    return _plain(text)


def _plain(text: str) -> str:
    head, found, _ = text.lower().partition("apparmor")
    if not found and _BROKEN.match(text):
        raise Unreadable(f"the line was broken within {MARK}: join it with the line before")
    if not found or _OTHER.search(head):
        return ""
    if MARK in text or STATUS in text:
        return text
    if "DENIED" not in text:
        return ""
    bare = text.replace('\\"', '"')
    for turned in (
        text.translate(_CURLY),
        bare if "\\" not in bare else "",  # of others, nobody knows how often they were escaped
        html_text.unescaped(text),
        text.replace('""', '"'),
    ):
        if MARK in turned:
            return turned
    if "apparmor=DENIED" in text:  # where a value ends that a process chose, nobody knows
        raise Unreadable("names stand here without quotes: use ausearch without -i")
    raise Unreadable(f"a denial is a whole line with {MARK}, as the log itself has it")


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
    elif isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        yield bytes(each & 255 for each in value).decode(errors="replace")
    elif isinstance(value, dict):
        for each in [value["MESSAGE"]] if "MESSAGE" in value else value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
