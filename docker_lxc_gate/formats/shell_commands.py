"""The commands of a shell script, each with its place among the others; nothing is run.

Enough of bash to say where a command runs, and whether ``set -e`` counts for it. Source: bash(1),
of quoting, lists, compound commands, command substitution, and the option ``-e``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from docker_lxc_gate import patterns

_TOKENS = patterns.compile(
    r"""\\[\s\S]|\$?'|"|\$\{[^}$`"'\n]*\}|[<>]&|&>|\$\(\(|[$<>]\(|\([ \t]*\)|in[ \t]+\("""
    r"""|&&|\|\||\|&|[^\\ \t\#'"<>&$(){};`|\n][^\\ \t'"<>&$(){};`|\n]*|[\s\S]"""
)
_ENDS = frozenset({"&&", "||", "|&", "|", "&", ";", "\n"})
#: Words that begin a condition, in which ``-e`` does not count, and that end one.
_CONDITION, _BODY = frozenset({"if", "elif", "while", "until"}), frozenset({"then", "else", "do"})
#: What surely fails, or ends what it stands in as failed; behind ``||``, the latter do so, too.
_FAILS = patterns.compile(r"""(?s)(?:exit|return)[ \t]+"?(?:[1-9]|\$\{?\w).*|false""")
_FAILS_TOO = patterns.compile(r"""(?:exit|return)(?:[ \t]+"?\$\?"?)?""")
_ASSIGNMENT = patterns.compile(r"\w+\+?=\S*")
_DEFINED = patterns.compile(r"(?:function[ \t]+)?([\w-]+)[ \t]*(?:\([ \t]*\))?[ \t\n]*")
#: A word that may be a reserved one, and the beginning of a function, have fewer tokens.
_SHORT = 8
#: How many functions that call one another, and commands behind a condition, are followed, and how
#: many commands are named.
_DEEPEST, _FAR, _MOST = 100, 1000, 10


@dataclass(frozen=True)
class ShellCommand:
    """A simple command, a group in brackets, or a function, from ``start`` to ``end``.

    ``text`` is without reserved words before it; ``bare`` is what of it stands in no quotes.
    ``then`` is the operator behind it. ``condition`` is whether it is a condition, and
    ``substituted`` whether it stands in a command substitution. ``defines`` is a function's name.
    Commands with the same ``part`` follow each other.
    """

    text: str
    bare: str
    start: int
    end: int
    then: str
    part: int
    condition: bool = False
    substituted: bool = False
    defines: str = ""


@dataclass
class _Part:
    """The script, or what stands in a pair of brackets, and the command that is read there.

    ``quote`` is what began the quotes, a line feed in a comment. An ``array`` has no commands.
    """

    number: int
    closed_by: str = ""
    substituted: bool = False
    array: bool = False
    text: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    start: int = -1
    quote: str = ""
    brackets: int = 0
    in_condition: bool = False
    negated: bool = False
    defines: str = ""

    def at_start(self) -> bool:
        """Whether no word of a command was read yet, apart from reserved words, which go."""
        word = "".join(self.text[:_SHORT]).strip() if len(self.text) < _SHORT else "more"
        if word in _CONDITION | _BODY | {"!", "time", ""}:
            self.in_condition = word in _CONDITION or (self.in_condition and word not in _BODY)
            self.negated |= word == "!"
            self.text, self.bare = [], []
        return not self.text

    def add(self, token: str, at: int, *, bare: bool = False) -> None:
        bracketed = "".join(self.text[:_SHORT]).strip() == "()" and token not in _BODY
        if bracketed and patterns.match(r"[A-Za-z_.\"'$/]", token):
            # No command may follow brackets: they were a pattern of case.
            self.text, self.bare = [], []
        if (self.at_start() and not token.isspace()) or self.start < 0:
            self.start = at
        self.text.append(token)
        if bare:
            self.bare.append(token)

    def ended(self, at: int, then: str) -> ShellCommand | None:
        """Return the command that ends here, if there is one."""
        empty = self.at_start()
        text, bare = "".join(self.text).strip(), "".join(self.bare).strip()
        condition = self.in_condition or self.negated
        command = ShellCommand(
            *(text, bare, self.start, at, then, self.number),
            *(condition, self.substituted, self.defines),
        )
        self.text, self.bare, self.start, self.negated, self.defines = [], [], -1, False, ""
        return None if empty or self.array else command

    def quote_behind(self, word: str) -> str:
        """Return ``quote`` as it is after a word."""
        if self.quote:  # in single quotes and comments, a backslash means nothing
            ends = word[0] != "\\" or self.quote in {"'", "\n"}
            return "" if ends and word[-1] == self.quote[-1] else self.quote
        if word == "#" and (not self.text or self.text[-1] in {" ", "\t"}):
            return "\n"
        return word if word in {'"', "'", "$'"} else ""


#: What opens a substitution, and what closes it.
_SUBSTITUTIONS = {"$(": ")", "<(": ")", ">(": ")", "`": "`"}


def shell_commands(script: str) -> list[ShellCommand]:
    """Return the commands of a script without here-documents, in the order in which they end."""
    commands: list[ShellCommand | None] = []
    parts, opened = [_Part(0)], 0
    for match in _TOKENS.finditer(script):
        word, at, part = match[0], match.start(), parts[-1]
        before, part.quote = part.quote, part.quote_behind(word)
        if before == "\n" and not part.quote:
            before, word = "", "\n"
        closes = word == part.closed_by and not part.brackets and (word != "}" or part.at_start())
        if closes and (not part.quote or word == "`"):
            commands.append(part.ended(at, word))
            parts.pop()
            parts[-1].add(word, at)
            continue
        if part.quote == "\n":
            continue
        array = word == "(" and not part.quote and "".join(part.text[-1:]).endswith("=")
        if closed_by := ")" if array else _opened(part, word):
            part.add(word, at)
            opened += 1
            substituted = part.substituted or word in _SUBSTITUTIONS
            parts.append(_Part(opened, closed_by, substituted, array))
        elif _ends(part, word):
            commands.append(part.ended(at, word))
        else:
            quoted = before or part.quote
            if not quoted:
                part.brackets += {"(": 1, "$((": 2, ")": -1}.get(word, 0)
            bare = not quoted and word[0] != "\\"
            part.add(" " if word == "\\\n" else word, at, bare=bare)
    commands += [part.ended(len(script), "\n") for part in reversed(parts)]
    return [command for command in commands if command]


def _opened(part: _Part, word: str) -> str:
    """Return what closes the part that a word opens; empty if it opens none."""
    if part.quote:
        return _SUBSTITUTIONS[word] if part.quote == '"' and word in {"$(", "`"} else ""
    if word in {"(", "{"} and (part.at_start() or _defines(part)):
        return ")" if word == "(" else "}"
    return _SUBSTITUTIONS.get(word, "")


def _ends(part: _Part, word: str) -> bool:
    """Whether a word ends a command: ``)`` of a pattern of ``case`` does so, too."""
    if part.quote or (word == "\n" and _defines(part)):
        return False
    return word in _ENDS or (word == ")" and not part.brackets)


def _defines(part: _Part) -> bool:
    """Whether what was read begins the definition of a function."""
    text = "".join(part.text[:_SHORT])
    name = _DEFINED.fullmatch(text) if "(" in text or text.startswith("function") else None
    part.defines = name[1] if name else part.defines
    return bool(name)


def unheeded(commands: Sequence[ShellCommand], meant: Sequence[ShellCommand]) -> list[str]:
    """Return each of the ``meant`` commands whose failure does not end a script with ``set -e``.

    Of a condition, and of all but the last part of a list, bash ignores failures, also within the
    functions and groups there: of these, the call is returned. Each with why.
    """
    calls, assigned = _calls(commands, meant), _assigned(commands, set(meant))
    ours = {*meant, *assigned.values()}
    fails = _failing(commands)
    heeded = fails | ours
    pipefail = any(patterns.match(r"set -.*pipefail", command.bare) for command in commands)
    ignored, is_on = list[str](), True
    for at, command in enumerate(commands):
        if switch := patterns.match(r"set ([+-])(?:\w*e|o errexit)", command.bare):
            is_on = switch[1] == "-"
        if len(ignored) == _MOST or not (command in calls or command in ours):
            continue
        behind = map(commands.__getitem__, range(at, len(commands)))
        why = "" if is_on else "behind set +e"
        if command.then in {"|", "|&"} and not pipefail:
            why = "in a pipeline, without pipefail"
        elif command.then == "&":
            why = "in the background"
        elif command in calls:
            why = why or _ignored(command)
        elif command.condition:
            why = why or _in_a_condition(islice(behind, _FAR), fails)
        elif command.then in {"&&", "||"}:
            why = why or _in_a_list(behind, heeded)
        elif command.substituted and command not in assigned:
            why = why or "bash ignores a failure in a command substitution"
        ignored += [f"{command.text} ({why})"] if why else []
    return ignored


def _calls(commands: Sequence[ShellCommand], meant: Sequence[ShellCommand]) -> set[ShellCommand]:
    """Return the groups that hold a ``meant`` command, and the calls of functions that do."""
    functions: set[str] = set()
    holding = sorted(c.start for c in meant)

    def holds(command: ShellCommand) -> bool:
        at = bisect_left(holding, command.start)
        return at < len(holding) and holding[at] <= command.end

    for _ in range(_DEEPEST):  # a function that calls such a function is one, too
        more = {c.defines for c in commands if c.defines and holds(c)} - functions
        if not more:
            break
        functions |= more
        holding = sorted({*holding, *(c.start for c in commands if _name(c) in more)})
    groups = {c for c in commands if c.text[:1] in {"(", "{"} and holds(c)}
    return groups | {c for c in commands if _name(c) in functions and not c.defines}


def _ignored(call: ShellCommand) -> str:
    """Return where bash ignores ``set -e`` within a call or a group; empty if it does not."""
    place = "in a condition" if call.condition else ""
    place = "in a command substitution" if call.substituted else place
    place = f"before {call.then}" if not place and call.then in {"&&", "||"} else place
    return place and f"bash ignores set -e {place}"


def _name(command: ShellCommand) -> str:
    return command.text.partition(" ")[0]


def _assigned(
    commands: Sequence[ShellCommand], meant: Collection[ShellCommand]
) -> dict[ShellCommand, ShellCommand]:
    """Return the assignment that has the exit code of each ``meant`` command that has one."""
    assignments, inner = dict[ShellCommand, ShellCommand](), list[ShellCommand]()
    for command in commands:
        while inner and command.start < inner[-1].start:
            within = inner.pop()
            if _ASSIGNMENT.fullmatch(command.text):
                assignments[within] = command
        inner += [command] if command.substituted and command in meant else []
    return assignments


def _failing(commands: Sequence[ShellCommand]) -> set[ShellCommand]:
    """Return the commands that surely fail, or end what they stand in as failed.

    So do a group, and a call of a function, whose last command does, unless it is in a list.
    """
    names, fails = set[str](), set[ShellCommand]()
    for _ in range(2):  # a function may stand behind its call
        surely, start, before = False, 0, dict[int, str]()
        for command in commands:
            holds = command.start < start and (command.defines or command.text[:1] in {"(", "{"})
            if _FAILS.fullmatch(command.text) or _name(command) in names or (holds and surely):
                fails.add(command)
                names |= {command.defines} - {""}
            surely = command in fails and before.get(command.part) not in {"&&", "||"}
            start, before[command.part] = command.start, command.then
    return fails


def _in_a_condition(commands: Iterator[ShellCommand], fails: Collection[ShellCommand]) -> str:
    """Return why a failure of the first one, a condition, is ignored; empty if not.

    A loop asks again.
    """
    first = next(commands)
    for command in commands:
        if command.part == first.part and (command in fails or _name(command) in {"fi", "done"}):
            return "" if _name(command) != "fi" else "no command up to fi surely fails"
    return "no command behind the condition surely fails"


def _in_a_list(commands: Iterator[ShellCommand], fails: Collection[ShellCommand]) -> str:
    """Return why a failure of the first one, which begins a list, is ignored; empty if not."""
    first = next(commands)
    before = first.then
    for command in commands:
        if command.part != first.part:
            continue
        if before == "||":
            heeded = command in fails or _FAILS_TOO.fullmatch(command.text)
            return "" if heeded else f"|| {command.text} need not end the script"
        if before not in {"&&", "|"}:
            break
        before = command.then
    return "bash ignores a failure before &&"
