"""The rules of an AppArmor profile and of the files that it includes, and its patterns.

Source: apparmor.d(5).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.apparmor_profile import Statement, is_skipped, opened, statements
from docker_lxc_gate.machines import regular_file

#: Where AppArmor itself looks for what is included.
SYSTEM = "/etc/apparmor.d"
#: Files include each other no deeper and no more often, and are together no larger (bytes). A
#: pattern with its variables' values is no longer than that (characters).
_DEEPEST, _MOST, _TOGETHER, _LONGEST = 20, 2000, 4 << 20, 1 << 20
_NAME = patterns.compile(r"@\{(\w+)\}")
#: A pattern is cut into these. A class without an end is none, and goes on to the end of the text.
_PIECE = patterns.compile(r"(?s)\\(.)|(\*+)|\[((?:\\.|[^\\\]])+)\]|\[(?:\\.|[^\\\]])*\\?\z|.")
#: What a class of RE2's needs in another form.
_IN_CLASS = patterns.compile(r"(?s)\\.|\[")


@dataclass(frozen=True)
class Rule(Statement):
    """One rule, its file, and the profile that it is of.

    A profile within another has both names, as the kernel says them: ``outer//inner``.
    """

    file: str
    profile: str

    @override
    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.text},"


@dataclass
class Policy:
    """What a file says, and what it includes: the rules of every profile in it, in order.

    ``missing`` is included and was not found; ``files`` is how many were read, each as often as it
    is included, and ``size`` that of all of them (bytes).
    """

    rules: list[Rule] = field(default_factory=list)
    variables: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0

    def of(self, profile: str) -> list[Rule]:
        """Return the rules of a profile."""
        return [rule for rule in self.rules if rule.profile == profile]

    def expanded(self, pattern: str) -> str:
        """Return a pattern with its variables' values in their place, as alternatives.

        What would be too long keeps its variables.
        """

        def value(found: patterns.Match[str]) -> str:
            values = self.variables.get(found[1], [found[0]])
            return values[0] if len(values) == 1 else f"{{{','.join(values)}}}"

        for _ in range(_DEEPEST):
            names = [name for name in _NAME.findall(pattern) if name in self.variables]
            sizes = {name: len(",".join(self.variables[name])) + 2 for name in set(names)}
            if not names or len(pattern) + sum(sizes[name] for name in names) > _LONGEST:
                break
            pattern = _NAME.sub(value, pattern)
        return pattern


def read(path: Path, places: Sequence[Path]) -> Policy:
    """Return what a profile's file says; includes are followed, and looked for in ``places``, too.

    Raises FactError if a file cannot be read, or they include each other without end.
    """
    policy = Policy()
    _file(policy, path, [path.parent, *path.parent.parents[:2], *places], "", 0)
    return policy


def _file(policy: Policy, path: Path, places: Sequence[Path], profile: str, depth: int) -> None:
    policy.files += 1
    if policy.files > _MOST:
        raise FactError(f"{path} is included again and again: more than {_MOST} files were read")
    try:
        content, _ = regular_file.read(Path(os.path.realpath(path)))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise FactError(f"{path} cannot be read: {why}") from error
    policy.size += len(content)
    if policy.size > _TOGETHER:
        raise FactError(f"{path} is too much: more than {_TOGETHER >> 20} MiB are included")
    inside = [profile] if profile else []
    for statement in statements(content.decode(errors="replace")):
        current = inside[-1] if inside else ""
        if statement.kind == "include":
            if depth < _DEEPEST:
                _include(policy, statement, places, current, depth + 1)
        elif statement.kind == "open":
            child = opened(statement)
            name = child.name if child else ""
            inside.append(f"{current}//{name}" if current else name)
        elif statement.kind == "close":
            del inside[-1:]
        elif statement.kind == "assign":
            policy.variables.setdefault(statement.assigned, []).extend(statement.values)
        else:
            policy.rules.append(Rule(**vars(statement), file=str(path), profile=current))


def _include(
    policy: Policy, include: Statement, places: Sequence[Path], profile: str, depth: int
) -> None:
    name = include.included
    found = next((place / name for place in places if (place / name).exists()), None)
    if found is None:
        if not include.optional:
            policy.missing.append(name)
        return
    files = [found]
    if found.is_dir():
        files = sorted(f for f in found.iterdir() if f.is_file() and not is_skipped(f.name))
    for each in files:
        _file(policy, each, places, profile, depth)


@foreign.parser(..., "/a/bc/d")
def matches(pattern: str, name: str) -> bool:
    """Whether a pattern of AppArmor's matches a name; a path's slashes count once.

    A letter beyond ASCII is several characters, as it is for the kernel.
    """
    pattern, name = (each.encode(errors="replace").decode("latin-1") for each in (pattern, name))
    if pattern.startswith("/"):
        pattern = patterns.sub("/{2,}", "/", pattern)
    try:
        return patterns.fullmatch(f"(?s){regex(pattern)}", name) is not None
    except patterns.Invalid:
        return False


def regex(pattern: str) -> str:
    """Return a pattern of AppArmor's as a regular expression.

    A star that is all of a path's last part stands for one character at least.
    """
    pattern = pattern.strip('"')
    out, depth = list[str](), 0
    for found in _PIECE.finditer(pattern):
        piece = found[0]
        if found[2]:
            alone = found.end() == len(pattern) and pattern.endswith(f"/{piece}")
            some = "[^/]" if piece == "*" else "."
            out.append(f"[^/]{some}*" if alone else f"{some}*")
        elif found[1]:
            out.append(patterns.escape(found[1]))
        elif piece == "?":
            out.append("[^/]")
        elif piece == "{" or (piece in ",}" and depth):
            out.append({"{": "(?:", ",": "|", "}": ")"}[piece])
            depth += {"{": 1, ",": 0, "}": -1}[piece]
        elif found[3]:
            out.append(f"[{_IN_CLASS.sub(_in_class, found[3])}]")
        else:
            out.append(patterns.escape(piece))
    return "".join(out) + ")" * depth


def _in_class(found: patterns.Match[str]) -> str:
    char = found[0][-1]
    return char if char in "-^" else f"\\x{{{ord(char):x}}}"  # AppArmor drops their backslash
