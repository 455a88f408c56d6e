"""The commands of a shell script, each with what it stands in; nothing is run.

Enough of bash to say where a command runs, and whether ``set -e`` counts for it, or that this
cannot be told. Source: bash(1), of quoting, lists, compound commands, and the option ``-e``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError

_TOKENS = patterns.compile(
    r"""\\[\s\S]|\$?'|"|\$\{[^}$`"'\n]*\}|[<>]&|&>|\([ \t]*\)|[$<>]?\(|&&|\|\||\|&"""
    r"""|[^\\ \t\#'"<>&$(){};`|\n][^\\ \t'"<>&$(){};`|\n]*|[\s\S]"""
)
_ENDS = frozenset({"&&", "||", "|&", "|", "&", ";", "\n", ")"})
#: What opens brackets and quotes, and what closes them; in quotes and ``_WORDS`` are no commands.
_GROUPS = {"(": ")", "{": "}", "if": "fi", "case": "esac"}
_GROUPS |= dict.fromkeys(("for", "select", "until", "while"), "done")
_SUBSTITUTIONS = {"$(": ")", "<(": ")", ">(": ")", "`": "`"}
_QUOTES = {'"': '"', "'": "'", "$'": "'", "#": "\n"}
_WORDS = " ("
_CLOSED_BY = {**_GROUPS, **_SUBSTITUTIONS, **_QUOTES, _WORDS: ")"}
#: Reserved words before a command, and whether it is a condition; None: if the one before is.
_BEFORE = {"elif": True, "then": False, "else": False, "do": False, "!": None, "time": None}
_DEFINED = patterns.compile(
    r"(?:function[ \t]+([\w.:-]+)[ \t]*(?:\([ \t]*\))?|([\w.:-]+)[ \t]*\([ \t]*\))[ \t\n]*"
)
_ASSIGNMENT = patterns.compile(r"\w+\+?=\S*")
#: What surely fails, or ends the script; what does so behind ``||``; and what surely succeeds.
_FAILS = patterns.compile(r"""(?s)(?:exit|return)[ \t]+"?(?:[1-9]|\$\{?\w).*|false""")
_FAILS_TOO = patterns.compile(r"""(?:exit|return)(?:[ \t]+"?\$\?"?)?""")
_SUCCEEDS = patterns.compile(r"(?s)(?:true|:|echo|printf|(?:exit|return)[ \t]+0)(?:\s.*)?")
#: The beginning of a function has fewer words.
_SHORT = 8


@dataclass(eq=False)
class ShellCommand:
    """A simple command, a compound one, or a function, without reserved words before it.

    It stands in the brackets of ``within``, which ``opened`` began; ``last`` is the last one in its
    own. ``before`` and ``then`` are the operators around it, and ``after`` the command behind them.
    ``bare`` is what of its ``text`` stands in no quotes. ``asked`` is whether it is a condition.
    """

    within: ShellCommand | None = None
    opened: str = ""
    before: str = ""
    asked: bool = False
    text: str = ""
    bare: str = ""
    name: str = ""
    then: str = ""
    after: ShellCommand | None = None
    last: ShellCommand | None = None
    defines: str = ""
    words: list[str] = field(default_factory=list)

    @property
    def quotes(self) -> bool:
        """Whether it is no command, but text in quotes, or a comment."""
        return self.opened in _QUOTES

    @property
    def functions(self) -> Iterator[str]:
        """The functions that it stands in, innermost first; a definition stands in its own."""
        place: ShellCommand | None = self
        while place:
            if place.defines:
                yield place.defines
            place = place.within

    def begins_function(self) -> bool:
        """Whether the name of a function was read, and nothing else."""
        if name := _DEFINED.fullmatch("".join(self.words[:_SHORT])):
            self.defines = name[1] or name[2]
        return bool(name)

    def opens(self, word: str) -> str:
        """Return the brackets or quotes that a word opens; empty if none."""
        if self.quotes:
            return word if self.opened == '"' and word in {"$(", "`"} else ""
        behind = next((w.strip() for w in reversed(self.words[-_SHORT:]) if w.strip()), "")
        if self.opened == "case" and behind == "(...)" and word[0].isalpha():  # a pattern
            self.words = []
        if word == "#":
            return "" if self.words and not self.words[-1].isspace() else word
        if word in _GROUPS and (not self.words or (word in "({" and self.begins_function())):
            return word
        return _WORDS if word == "(" else word if word in _SUBSTITUTIONS | _QUOTES else ""

    def add(self, word: str) -> None:
        """Read a word; a reserved word before a command is no part of it."""
        if not self.words and not self.quotes and word in _BEFORE:
            asks = _BEFORE[word]
            self.asked = self.asked if asks is None else asks
            self.before = word if word == "!" else self.before
        elif self.words or self.quotes or not (word.isspace() or word == "\\\n"):
            self.words.append(" " if word == "\\\n" else word)

    def end(self, then: str) -> list[ShellCommand]:
        """Return it as a list, which is empty if it is no command."""
        if then == ")" != _CLOSED_BY.get(self.opened):  # a pattern of case
            self.words = []
        self.text = "".join(self.words).strip()
        self.bare = "".join(w for w in self.words if w[0] not in "\"'\\" and w[:2] != "$'").strip()
        self.name, self.then = self.text.partition(" ")[0], then
        if not self.text or self.quotes or self.opened == _WORDS:
            return []
        if self.within and self.opened in {"(", "{"}:
            self.within.last = None if self.before in {"&&", "||"} else self
        return [self]


def shell_commands(script: str) -> list[ShellCommand]:
    """Return the commands of a script without here-documents, in the order in which they end.

    Bash must have parsed it: what has no end here was not understood.
    """
    commands, now, around = list[ShellCommand](), ShellCommand(), list[ShellCommand]()
    for match in _TOKENS.finditer(f"{script}\n"):
        word, closer = match[0], _CLOSED_BY.get(now.opened)
        if now.opened in {"'", "#"} and word[-1] == closer:  # a backslash means nothing there
            word = closer
        if word == closer and (now.quotes or not now.words or word in {")", "`"}):
            commands += now.end(word)
            inner, now = now, around.pop()
            if word != "\n":  # which ends more than a comment
                text = "".join(inner.words) if inner.quotes else "..."
                now.words.append(f"{inner.opened}{text}{word}")
                continue
        if opened := now.opens(word):
            around.append(now)
            within = now.within if now.quotes else now
            now = ShellCommand(within, opened, asked=opened in {"if", "until", "while"})
        elif now.quotes or word not in _ENDS or (word == "\n" and now.begins_function()):
            now.add(word)
        else:
            commands += now.end(word)
            if now.text:
                now.after = ShellCommand(now.within, now.opened, word, now.asked)
                now = now.after
    if around:
        raise FactError(f"the gate does not find the end of a {now.opened!r} in the script")
    return commands + now.end("\n")


def uncalled(commands: Sequence[ShellCommand], meant: Collection[ShellCommand]) -> list[str]:
    """Return the functions that hold a ``meant`` command, and that nothing calls by its name."""
    words = [
        ({*c.functions}, {*patterns.findall(r"[\w.:-]+", c.text)})
        for c in commands
        if not c.defines
    ]
    called, now = set[str](), {""}
    while not now <= called:
        called |= now
        now = {word for within, tokens in words if within <= called for word in tokens}
    return list(dict.fromkeys(name for c in meant for name in c.functions if name not in called))


def unheeded(
    commands: Sequence[ShellCommand], meant: Collection[ShellCommand]
) -> tuple[list[str], list[str]]:
    """Return the ``meant`` commands whose failure does not end a script with ``set -e``, with why.

    The second list is of those of which this cannot be told. Where bash ignores ``-e``, it does so
    within functions and groups, too: of these, the call is returned.
    """
    pipefail = any(patterns.match(r"set -.*pipefail", command.bare) for command in commands)
    functions = {command.defines: command.last for command in commands if command.defines}
    calls = defaultdict[str, list[ShellCommand]](list)
    for command in commands:
        calls["" if command.defines else command.name].append(command)
    off = [c.text for c in calls["set"] if patterns.match(r"set \+(?:\w*e|o errexit)", c.bare)]
    told = {True: list[str](), False: off}
    # With whether its exit code is the meant one's, and whether nothing has ended the script yet.
    todo = [(command, True, True) for command in meant]
    seen = set[tuple[ShellCommand, bool, bool]]()
    for command, is_own, is_sure in todo:
        place: ShellCommand | None = command
        own, sure = is_own, is_sure
        while place and (place, own, sure) not in seen:
            seen.add((place, own, sure))
            if place.defines:
                todo += [(call, own, sure) for call in calls[place.defines]]
                break
            # An assignment has the exit code of its substitution; no other command has.
            outer = place.within if place.opened in _SUBSTITUTIONS else None
            is_last = not (place.after and place.after.words)
            text = outer.text if outer and outer.text.count("...") == 1 else ""
            assigned = own and is_last and bool(_ASSIGNMENT.fullmatch(text))
            why = _ignored(place, assigned=assigned, pipefail=pipefail)
            listed = own and (place.asked or place.then in {"&&", "||"})
            ends = _ends(place, functions) if listed else False
            if why and not ends:
                told[sure and ends is False].append(f"{command.text} ({why})")
                break
            # What ends an if or a case gives it its exit code.
            sure = sure and not (own and is_last and place.opened in {"if", "case"})
            own = assigned or (own and place.within is not None and place.within.last is place)
            place, sure = place.within, sure and not ends
    return told[True], told[False]


def _ignored(place: ShellCommand, *, assigned: bool, pipefail: bool) -> str:
    """Return where bash ignores a failure, or ``set -e`` within; empty if it does not."""
    if place.then == "&":
        return "in the background"
    if place.then in {"|", "|&"} and not pipefail:
        return "in a pipeline, without pipefail"
    if place.asked or place.before == "!":
        return "in a condition"
    if place.then in {"&&", "||"}:
        return f"before {place.then}"
    return "in a command substitution" if place.opened in _SUBSTITUTIONS and not assigned else ""


def _ends(place: ShellCommand, functions: Mapping[str, ShellCommand | None]) -> bool | None:
    """Whether a script ends by what is behind a failure; None if that is not known.

    Of a group, and of a function, the last command counts.
    """
    behind = place.after
    if place.asked or behind is None or behind.then in {"&&", "||", "|", "|&", "&"}:
        return None
    if place.then == "&&":  # what is last gives its exit code to what it stands in
        return False if behind.after and behind.after.words else None
    last = functions.get(behind.name, behind.last) or behind
    if _FAILS.fullmatch(last.text) or _FAILS_TOO.fullmatch(behind.text):
        return True
    return False if _SUCCEEDS.fullmatch(last.text) else None
