"""A pytest plugin: what has no order is listed in another one.

``SHUFFLE=SEED python -m pytest -p tests.shuffled …`` permutes what every machine, also a double or
this one, answers to a command that lists. A test that then fails compares an order that nobody
promised. What has an order keeps it: a table's first line, mounts above one another, the lines of
one file, what Docker started first, a log.
"""

from __future__ import annotations

import json
import os
import random
import re
from typing import TYPE_CHECKING, Any

from targets.transport import CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RANDOM = random.Random(os.environ.get("SHUFFLE", "0"))  # noqa: S311 - no secret
#: How often a rule has changed an answer, by its name: a rule that never does proves nothing.
CHANGED: dict[str, int] = {}


def permuted(parts: Sequence[str]) -> list[str]:
    """Return them in another order; two change places always."""
    if len(parts) < 3:  # a shuffle would leave every second pair as it is
        return list(reversed(parts))
    found = list(parts)
    _RANDOM.shuffle(found)
    return found


def lines(text: str) -> str:
    """Permute the lines; one that is not ended stays so."""
    end = "\n" if text.endswith("\n") else ""
    return "\n".join(permuted(text.removesuffix("\n").split("\n"))) + end


def below_head(text: str) -> str:
    """Permute the lines of a table, but for its head."""
    head, newline, rest = text.partition("\n")
    return head + newline + (lines(rest) if rest else "")


def grouped(key: Callable[[str], str]) -> Callable[[str], str]:
    """Return what permutes groups of lines; those of one key stay together, and in order."""

    def permute(text: str) -> str:
        groups: dict[str, list[str]] = {}
        for line in text.removesuffix("\n").split("\n"):
            groups.setdefault(key(line), []).append(line)
        joined = "\n".join("\n".join(groups[name]) for name in permuted(list(groups)))
        return joined + ("\n" if text.endswith("\n") else "")

    return permute


mounts = grouped(lambda line: [*line.split(), "", ""][1])


def simulated(text: str) -> str:
    """Permute what apt would do; what it says before and after stays where it is."""
    does = re.compile(r"(Inst|Conf|Remv|Purg) ")
    said = text.split("\n")
    moved = iter(permuted([line for line in said if does.match(line)]))
    return "\n".join(next(moved) if does.match(line) else line for line in said)


def document(text: str) -> str:
    """Permute the keys of JSON's objects; a list keeps its order."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in permuted(list(value))}
        return [turned(each) for each in value] if isinstance(value, list) else value

    try:
        return json.dumps(turned(json.loads(text)))
    except (ValueError, RecursionError):
        return text


def attributes(text: str) -> str:
    """Permute getfattr's blocks, and in each one the attributes below the file's name."""
    blocks = [block for block in text.strip("\n").split("\n\n") if block]
    return "\n\n".join(permuted([below_head(block) for block in blocks])) + "\n\n"


def witnessed(text: str) -> str:
    """Permute each part of what the witness asks for."""
    parts = re.split(r"(?m)^(== \w+\n)", text)
    done = parts[:1]
    for head, body in zip(parts[1::2], parts[2::2], strict=True):
        inner = body.strip("\n")
        how = {
            "== mount\n": grouped(lambda line: line.partition("\t")[0]),
            "== attributes\n": attributes,
        }
        done += [head, how.get(head, lines)(inner) if inner else "", "\n\n"]
    return "".join(done)


def backups(text: str) -> str:
    """Permute the archives, and with them the times of those that have one in their names."""
    head, _, rest = text.partition("\n\n")
    files, _, times = rest.partition("\n\n")
    if not files or not times.strip():
        return text
    stamps = iter(times.split())
    stamped = re.compile(r"-[0-9]{4}(_[0-9]{2}){2}-[0-9]{2}(_[0-9]{2}){2}\.tar(\.[a-z0-9]+)?$")
    pairs = [(line, next(stamps, "") if stamped.search(line) else "") for line in files.split("\n")]
    _RANDOM.shuffle(pairs)
    times = "\n".join(stamp for _, stamp in pairs if stamp)
    return "\n\n".join([head, "\n".join(line for line, _ in pairs), times]) + "\n"


#: What lists, by a pattern of its command, and how its answer may as well stand. First match wins.
RULES: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("witness", r"sh -c witness ", witnessed),
    ("backups", r"sh -c find [0-9]+ /etc/pve", backups),
    ("files' lines", r"^find .* grep -aH ", grouped(lambda line: line.partition(":")[0])),
    ("included files", r"^find .* grep -aHZ ", grouped(lambda line: line.partition("\0")[0])),
    ("find", r"^find ", lines),
    ("containers of Docker", r"docker ps -a", lines),
    ("names of those that run", r"docker ps --format", lines),
    ("images", r"docker images", lines),
    ("volumes", r"docker volume ls", lines),
    ("networks", r"docker network ls", lines),
    ("what Docker says of itself", r"docker info -f .?\{\{json|^curl ", document),
    ("containers", r"^(pct list|lxc-ls .*--fancy)", below_head),
    ("containers that run", r"^lxc-ls .*-1", lines),
    ("units", r"systemctl list-units", lines),
    ("properties", r"systemctl show(?!.*--value)", grouped(lambda line: line.partition("=")[0])),
    ("packages", r"^(sh -c )?dpkg-query -W", lines),
    ("what apt would do", r"apt-get .* -s ", simulated),
    ("mounts", r"cat -- /proc/(self|[0-9]+)/mounts", mounts),
    ("profiles", r"cat -- \S+/apparmor/profiles", lines),
    ("id map", r"cat -- /proc/[0-9]+/[ug]id_map", lines),
    ("routes", r"cat -- /proc/net/route", below_head),
    ("attributes", r"getfattr ", attributes),
    ("paths", r"sh -c (list|there|edited|held|traces|under|changed) ", lines),
    ("directory", r"^ls -A ", lines),
    ("processes", r"^pgrep ", lines),
)


def shuffled(command: str, answer: bytes) -> bytes:
    """Return what a command may as well have answered."""
    for name, pattern, permute in RULES:
        if re.search(pattern, command, re.DOTALL):
            text = answer.decode(errors="surrogateescape")
            turned = permute(text) if text.strip() else text
            CHANGED[name] = CHANGED.get(name, 0) + (turned != text)
            return turned.encode(errors="surrogateescape")
    return answer


def _named(argv: Sequence[str]) -> str:
    """Return the command; a script that has a name is known by that alone."""
    words = list(argv)
    if "-c" in words and words[words.index("-c") + 2 :]:
        del words[words.index("-c") + 1]
    return " ".join(words)


def _shuffle_all() -> None:
    """Whatever runs a command makes one of these of its answer."""
    made = CommandResult.__init__

    def listed(self: CommandResult, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        object.__setattr__(self, "stdout", shuffled(_named(self.argv), self.stdout))

    CommandResult.__init__ = listed  # type: ignore[method-assign]


if "SHUFFLE" in os.environ:
    _shuffle_all()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which rules changed an answer."""
    if "SHUFFLE" in os.environ:
        terminalreporter.write_line(f"shuffled: {json.dumps(CHANGED)}")
