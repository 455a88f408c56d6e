"""A script's text as simple commands, as far as linting needs it.

Quotes, comments, here-documents and substitutions are told apart, and nothing is expanded. bash
itself decides whether a script is valid. Source: bash(1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Command:
    """One simple command: its words as they are written, quotes included.

    Attributes:
        line: where its first word is.
        words: a redirection is one or two of them.
        reads: the command whose output it reads through a pipe.
        function: the function in whose body it stands; empty outside of all.
    """

    line: int
    words: list[str] = field(default_factory=list)
    reads: Command | None = None
    function: str = ""


class TooDeep(Exception):
    """Substitutions within substitutions, deeper than anybody writes them."""


_DEEPEST = 40
#: What may stand before a command's name.
_BEFORE = frozenset({"if", "then", "else", "elif", "while", "until", "do", "!", "{", "time"})
_HERE = re.compile(r"<<(?P<dash>-?)[ \t]*(?P<quoted>['\"\\]?)(?P<end>[\w.!-]{1,100})(?P=quoted)?")
#: What needs no look at the next character.
_PLAIN = re.compile(r"[^\s\\'\"$`<#;&|()]+")


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.line = text, 0, 1
        self.found: list[Command] = []
        self.awaited: list[tuple[str, bool]] = []
        self.function = ""

    def peek(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def take(self, length: int = 1) -> str:
        taken = self.text[self.at : self.at + length]
        self.at += length
        self.line += taken.count("\n")
        return taken

    def upto(self, end: str) -> str:
        """Take what comes before an end, and the end."""
        place = self.text.find(end, self.at)
        return self.take((place if place >= 0 else len(self.text)) - self.at + len(end))

    def rest_of_line(self) -> str:
        place = self.text.find("\n", self.at)
        return self.take((place if place >= 0 else len(self.text)) - self.at)


def commands(text: str) -> list[Command]:
    """Return a script's simple commands in order, those in substitutions included.

    Raises:
        TooDeep: nobody wrote that by hand.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    while scanner.at < len(scanner.text):
        _scan(scanner, "", 0)
    return [each for each in scanner.found if each.words]


class _Line:
    """The commands of one level: that which is being read, and the one before a pipe."""

    def __init__(self, scanner: _Scanner) -> None:
        self.scanner = scanner
        self.command, self.word, self.quoted = Command(scanner.line), "", False
        self.round, self.cases = 0, 0

    def ends(self, until: str) -> bool:
        """Whether a substitution ends here, and neither a subshell nor a pattern of a case."""
        if not until or self.scanner.peek() != until:
            return False
        self.end_word()
        return not (self.round or self.cases)

    def add(self, text: str, *, quoted: bool = False) -> None:
        if not self.command.words and not self.word:
            self.command.line = self.scanner.line - text.count("\n")
        self.word += text
        self.quoted = self.quoted or quoted

    def end_word(self) -> None:
        if self.word or self.quoted:
            self.command.words.append(self.word)
            if all(word in _BEFORE for word in self.command.words[:-1]):
                self.cases = max(0, self.cases + {"case": 1, "esac": -1}.get(self.word, 0))
        self.word, self.quoted = "", False

    def end(self, *, piped: bool = False) -> None:
        self.end_word()
        done, scanner = self.command, self.scanner
        if done.words:
            if done.words[0] == "}":
                scanner.function = ""
            done.function = scanner.function
            scanner.found.append(done)
        reads = done if piped else None if done.words else done.reads  # a pipe goes on below
        self.command = Command(scanner.line, reads=reads)


def _scan(scanner: _Scanner, until: str, depth: int) -> None:
    """Read commands up to the end of a substitution, or of the text."""
    if depth > _DEEPEST:
        raise TooDeep
    line = _Line(scanner)
    while scanner.at < len(scanner.text) and not line.ends(until):
        if plain := _PLAIN.match(scanner.text, scanner.at):
            line.add(scanner.take(len(plain[0])))
        elif scanner.peek() in " \t\r\f\v":
            scanner.take()
            line.end_word()
        else:
            _special(scanner, line, depth)
    scanner.take()
    line.end()


def _special(scanner: _Scanner, line: _Line, depth: int) -> None:
    """Read what begins with a character that means something to a shell."""
    char = scanner.peek()
    if char == "\n":
        scanner.take()
        line.end()
        _skip_documents(scanner)
    elif char == "#" and not line.word:
        scanner.rest_of_line()
    elif scanner.peek(2) == "\\\n":
        scanner.take(2)
    elif char in "'\"\\$`":
        line.add(_quoted(scanner, depth), quoted=True)
    elif scanner.peek(3) == "<<<":
        line.add(scanner.take(3))
    elif char == "<" and (here := _HERE.match(scanner.text, scanner.at)):
        _document(scanner, line, here)
    else:
        _operator(scanner, line, char)


def _document(scanner: _Scanner, line: _Line, here: re.Match[str]) -> None:
    scanner.awaited.append((here["end"], bool(here["dash"])))
    line.end_word()
    scanner.take(len(here[0]))


def _skip_documents(scanner: _Scanner) -> None:
    for end, dash in scanner.awaited:
        while scanner.at < len(scanner.text):
            row = scanner.rest_of_line()
            scanner.take()
            if (row.lstrip("\t") if dash else row) == end:
                break
    scanner.awaited.clear()


def _operator(scanner: _Scanner, line: _Line, char: str) -> None:
    if char == "(" and (line.word.endswith("=") or (not line.word and scanner.peek(2) == "((")):
        line.add(_round(scanner))  # an array, or arithmetic
    elif char == "(" and re.match(r"\(\s*\)", scanner.text[scanner.at : scanner.at + 9]):
        scanner.upto(")")
        line.end_word()
        scanner.function = line.command.words[-1] if line.command.words else ""
        line.command = Command(scanner.line)
    elif char == "&" and (scanner.peek(2) == "&>" or line.word.endswith((">", "<"))):
        line.add(scanner.take(1))
    elif char == "|":
        both = scanner.peek(2) == "||"
        scanner.take(2 if scanner.peek(2) in {"||", "|&"} else 1)
        line.end(piped=not both)
    elif char in ";&()":
        line.round = max(0, line.round + {"(": 1, ")": -1}.get(char, 0))
        scanner.take()
        line.end()
    else:
        line.add(scanner.take())


def _round(scanner: _Scanner) -> str:
    """Take a bracket with all in it, and read nothing in it."""
    begun, depth = scanner.at, 0
    while scanner.at < len(scanner.text):
        char = scanner.peek()
        if char == "'":
            scanner.take()
            scanner.upto("'")
            continue
        if char == "\\":
            scanner.take()
        depth += {"(": 1, ")": -1}.get(char, 0)
        scanner.take()
        if not depth:
            break
    return scanner.text[begun : scanner.at]


def _quoted(scanner: _Scanner, depth: int) -> str:
    """Take what a quote, an escape or a substitution begins, as it is written."""
    begun, char = scanner.at, scanner.take()
    if char == "\\":
        scanner.take()
    elif char == "'":
        scanner.upto("'")
    elif char == "`":
        _scan(scanner, "`", depth + 1)
    elif char == '"':
        _double(scanner, depth)
    else:
        _dollar(scanner, depth)
    return scanner.text[begun : scanner.at]


def _double(scanner: _Scanner, depth: int) -> None:
    while scanner.at < len(scanner.text):
        char = scanner.take()
        if char == '"':
            return
        if char == "\\":
            scanner.take()
        elif char == "`":
            _scan(scanner, "`", depth + 1)
        elif char == "$":
            _dollar(scanner, depth)


def _dollar(scanner: _Scanner, depth: int) -> None:
    """Take what follows a dollar, which is taken already."""
    following = scanner.peek(2)
    if following == "((":
        _round(scanner)
    elif following[:1] == "(":
        scanner.take()
        _scan(scanner, ")", depth + 1)
    elif following[:1] == "{":
        _braces(scanner, depth)
    elif following[:1] == "'":
        scanner.take()
        while scanner.at < len(scanner.text) and (char := scanner.take()) != "'":
            if char == "\\":
                scanner.take()


def _braces(scanner: _Scanner, depth: int) -> None:
    open_ = 0
    while scanner.at < len(scanner.text):
        char = scanner.take()
        if char == "\\":
            scanner.take()
        elif char == "$" and scanner.peek() in {"(", "{"}:
            if depth >= _DEEPEST:
                raise TooDeep
            _dollar(scanner, depth + 1)
        open_ += {"{": 1, "}": -1}.get(char, 0)
        if not open_:
            return
