"""An AppArmor profile's text as statements and profiles, without the files that it includes.

Only apparmor_parser knows what a text means; this tells its statements from each other. Sources:
apparmor.d(5), apparmor_parser's parser_lex.l, libapparmor's private.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from docker_lxc_gate import patterns

#: What a text is cut into: strings, comments, line ends, brackets, and what is between them.
_TOKEN = patterns.compile(
    r'(?ms)"(?:\\.|[^"\\\n])*"|\\.|(^|[ \t\r\f\v]+)(#[^\n]*)|\n|[(){}]|[^\s\v"\\(){},#]+'
    r"|[ \t\r\f\v]+|."
)
#: What follows a brace or a comma that is part of no path.
_AFTER = " \t\r\n}"
_INCLUDE = patterns.compile(
    r'#?include\s+(?:if\s+exists\s+)?(?:(?P<mark>[<"])(?P<marked>[^>"]+)|(?P<bare>\S+))'
)
_ASSIGNED = patterns.compile(r"[@$]\{?(?P<name>\w+)\}?\s*\+?=")
_QUALIFIERS = patterns.compile(r"(?:(?:audit|quiet|allow|deny|priority\s*=\s*-?[0-9]+)\s+)*")
_HEADER = patterns.compile(
    r'(?s)(?:(?P<hat>hat\s+|\^)|profile\s+)?(?P<name>"[^"]*"|[^\s"(]+)'
    r'(?:\s+(?P<attached>"[^"]*"|[^\s"(]+))?'
)
_FLAGS = patterns.compile(r"flags\s*=\s*\(([^)]*)\)")
#: How a file's name ends that apparmor_parser skips in a directory.
_SKIPPED = (
    *(".dpkg-new", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".dpkg-remove", ".pacsave", ".pacnew"),
    *(".rpmnew", ".rpmsave", ".orig", ".rej", "~"),
)


def is_skipped(name: str) -> bool:
    """Whether apparmor_parser skips a file in a directory that it reads whole, by its name."""
    return name.startswith((".", "README")) or name.endswith(_SKIPPED)


@dataclass(frozen=True)
class Statement:
    """One statement; ``kind`` is open, close, include, assign or rule.

    ``text`` has one blank between its words, and neither comma nor brace at its end. ``depth``
    is how many blocks it stands in.
    """

    kind: str
    text: str
    line: int
    depth: int

    def __str__(self) -> str:
        """Return the statement as a profile has it."""
        return {"rule": f"{self.text},", "open": f"{self.text} {{"}.get(self.kind, self.text)

    @property
    def denies(self) -> bool:
        """Whether a rule denies what it is about."""
        return "deny" in self.text[: -len(self.bare) or None].split()

    @property
    def bare(self) -> str:
        """A rule without what may stand in front of each: audit, allow, deny, its priority."""
        return _QUALIFIERS.sub("", self.text, count=1)

    @property
    def included(self) -> str:
        """The file or directory that an include names."""
        match = _INCLUDE.match(self.text)
        return match["marked"] or match["bare"] if match else ""

    @property
    def of_base(self) -> bool:
        """Whether an include's name is looked for in AppArmor's own directory: ``<name>``."""
        match = _INCLUDE.match(self.text)
        return bool(match and match["mark"] == "<")

    @property
    def assigned(self) -> str:
        """The variable that an assignment sets."""
        match = _ASSIGNED.match(self.text)
        return match["name"] if match else ""


@dataclass(frozen=True)
class Profile:
    """One profile, child profile or hat; its children's rules are not its own."""

    name: str
    attached: str
    flags: frozenset[str]
    line: int
    is_hat: bool = False
    rules: list[Statement] = field(default_factory=list)


class _Reader:
    """Where in a text the reading is: the statement so far, and what it stands in."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.line, self.began, self.depth, self.round, self.glob = 1, 1, 0, 0, 0
        self.word = ""

    def statement(self, kind: str) -> Statement | None:
        """Return the statement that ends here, and begin the next one."""
        text = " ".join("".join(self.parts).split())
        self.parts, self.round, self.glob = [], 0, 0
        if kind == "rule" and (_INCLUDE.match(text) or _ASSIGNED.match(text)):
            kind = "include" if _INCLUDE.match(text) else "assign"
        return Statement(kind, text, self.began, self.depth) if text else None

    @property
    def at_word(self) -> bool:
        """Whether a new word begins here."""
        return not self.parts or self.parts[-1].isspace()

    def add(self, piece: str) -> None:
        """Let a piece be part of the statement."""
        if not self.parts:
            if piece.isspace():
                return
            self.began = self.line
        if self.at_word:
            self.word = piece
        self.parts.append(piece)


@lru_cache(maxsize=64)  # several rules ask for the same text
def statements(text: str) -> tuple[Statement, ...]:
    """Return the statements of a profile's text, in order."""
    return tuple(_statements(text))


def _statements(text: str) -> Iterator[Statement]:
    reader = _Reader()
    for match in _TOKEN.finditer(text):
        follows = text[match.end() : match.end() + 1]
        for piece in filter(None, match.groups()) if match[2] else (match[0],):
            yield from filter(None, _read(reader, piece, follows))
            reader.line += piece.count("\n")
    if (left := reader.statement("rule")) is not None:
        yield left


def _read(reader: _Reader, piece: str, follows: str) -> Iterator[Statement | None]:
    begun = "".join(reader.parts[:40]) if piece == "\n" else ""
    if piece.startswith("#") and reader.at_word and not _INCLUDE.match(piece):
        return  # a comment
    if piece.startswith("#") and (not reader.at_word or not reader.parts):
        reader.add(piece)
    elif piece == "\n" and (_INCLUDE.match(begun) or _ASSIGNED.match(begun)):
        yield reader.statement("rule")
    elif piece == "{" and not reader.round and _opens(reader, follows):
        yield reader.statement("open")
        reader.depth += 1
    elif piece == "}" and not reader.glob:
        yield reader.statement("rule")
        reader.depth = max(0, reader.depth - 1)
        yield Statement("close", "}", reader.line, reader.depth)
    elif piece == "," and not reader.round and not reader.glob and _ends(reader, follows):
        yield reader.statement("rule")
    else:
        reader.round += {"(": 1, ")": -1}.get(piece, 0)
        reader.glob += {"{": 1, "}": -1}.get(piece, 0)
        reader.add(piece)


def _opens(reader: _Reader, follows: str) -> bool:
    """Whether a brace begins a block; one in a path does not."""
    first, last = (reader.parts[0], reader.parts[-1]) if reader.parts else ("", "")
    is_header = first in {"profile", "hat"} or first.startswith("^")
    apart = last.isspace() or last.endswith((")", '"'))
    return apart and (is_header or not follows.strip(_AFTER))


def _ends(reader: _Reader, follows: str) -> bool:
    """Whether a comma ends a rule: one within a path does not."""
    return not reader.word.startswith(("/", "@", "{")) or not follows.strip(_AFTER)


def opened(statement: Statement) -> Profile | None:
    """Return the profile, child profile or hat that a statement opens, without its rules."""
    header = _HEADER.match(statement.text) if statement.kind == "open" else None
    if header is None:
        return None
    attached = header["attached"] or ""
    if patterns.match(r"(flags|xattrs)\b", attached):
        attached = ""
    flags = _FLAGS.search(statement.text[header.end("attached" if attached else "name") :])
    return Profile(
        header["name"].strip('"'),
        attached.strip('"'),
        frozenset(patterns.split(r"[\s,]+", flags[1].strip())) if flags else frozenset(),
        statement.line,
        is_hat=bool(header["hat"]),
    )


def profiles(text: str) -> list[Profile]:
    """Return the profiles at the outermost level, each with the rules that are its own."""
    outermost: list[Profile] = []
    for statement in statements(text):
        profile = None if statement.depth else opened(statement)
        if profile and not profile.is_hat:
            outermost.append(profile)
        elif outermost and statement.depth == 1 and statement.kind in {"rule", "include"}:
            outermost[-1].rules.append(statement)
    return outermost
