"""What the tools themselves say of a file: apparmor_parser, bash and shellcheck.

Each gets the file's bytes, and runs nothing in them. A tool that is missing, or that could not
judge, is said as advice: the file is then not known to be good.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lint.finding import Problem, Severity
from targets import patterns
from targets.errors import LimitExceeded, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lint.finding import Finding
    from lint.source import Source
    from targets.transport import CommandResult, Transport

PARSE = Problem(
    "profile-parse-error",
    Severity.ERROR,
    "apparmor_parser refuses a profile",
    "The profile is not loaded. A reload that parses all files may stop at this one, before it "
    "reaches others.",
    "Correct the line that the parser names.",
)
SYNTAX = Problem(
    "script-syntax",
    Severity.ERROR,
    "bash cannot parse a script",
    "Bash runs the script up to this line, and stops half-way.",
    "Correct the line that bash names.",
)
SHELLCHECK = Problem(
    "script-shellcheck",
    Severity.ERROR,
    "shellcheck finds an error in a script",
    "shellcheck calls an error what does not do what it says.",
    "See the page of this number on shellcheck.net.",
)
NOT_CHECKED = Problem(
    "not-checked",
    Severity.ADVICE,
    "a file could not be checked by its own tool",
    "Nothing was found to be wrong, and it is not known to be right.",
    "Install the tool that is named, or lint on the node itself.",
)
RULES = (PARSE, SYNTAX, SHELLCHECK, NOT_CHECKED)

#: Includes are looked up in $1; empty: where the parser looks by itself. Never loaded (-Q), never
#: taken from or put into a cache (-K). Through a pipe, since sshd may give a socket, which cannot
#: be opened by its name; and by a name, with which the parser tells which file it blames.
_STDIN = "/dev/stdin"
_PARSE = (
    'PATH="$PATH:/usr/sbin:/sbin"; command -v apparmor_parser >/dev/null || exit 127; '
    "cat | apparmor_parser --skip-kernel-load --skip-cache "
    f'${{1:+--base "$1"}} {_STDIN} >/dev/null'
)
_ERROR = patterns.compile(
    r"AppArmor parser error(?: for \S+)?(?: in profile (?P<file>\S+))? at line (?P<line>[0-9]+): "
    r"(?P<said>.*)"
)
_ABSENT = patterns.compile(r"Could not open '[^/]|No such file or directory")
_BASH = patterns.compile(r"(?m)^bash: line (?P<line>[0-9]+): (?P<said>.*)$")
#: What a sourced file lacks on purpose: the line that names its shell.
_NOT_MEANT = (2148, 2187)
#: The longest that a tool may take (seconds).
_PATIENCE = 60.0
_MISSING = 127


class Tools:
    """The tools of a machine.

    Args:
        on: where they run.
        parsed: which profiles are parsed; without it, all.
    """

    def __init__(self, on: Transport, parsed: Callable[[Source], bool] = lambda _: True) -> None:
        self._on, self._parsed = on, parsed
        self._missing: dict[str, list[str]] = {}

    def parse(self, source: Source) -> Iterator[Finding]:
        """Yield what apparmor_parser says of a profile.

        Args:
            source: of the kind PROFILE. Its includes are looked up in its ``base``.
        """
        if not self._parsed(source):
            return
        result = self._run("apparmor_parser", ["sh", "-c", _PARSE, "parse", source.base], source)
        if isinstance(result, str):
            yield NOT_CHECKED.at(source.path, 0, result)
        elif result is not None and not result.ok:
            yield _refused(source, result.stderr.decode(errors="replace"))

    def syntax(self, source: Source) -> Iterator[Finding]:
        """Yield the first error of syntax that bash finds in a script."""
        argv = ["env", "-u", "BASH_ENV", "LC_ALL=C", "bash", "--norc", "-n"]
        result = self._run("bash", argv, source)
        if isinstance(result, str):
            yield NOT_CHECKED.at(source.path, 0, result)
        elif result is not None and not result.ok:
            said = _BASH.search(result.stderr.decode(errors="replace"))
            if said:
                yield SYNTAX.at(source.path, int(said["line"][:9]), said["said"])
            else:
                yield SYNTAX.at(source.path, 0, f"bash -n ended with {result.exit_code}")

    def shellcheck(self, source: Source) -> Iterator[Finding]:
        """Yield what shellcheck calls errors in a script."""
        numbers = ",".join(f"SC{number}" for number in _NOT_MEANT)
        argv = ["shellcheck", "--norc", "-f", "json", "-S", "error", "-s", "bash", "-e", numbers]
        result = self._run("shellcheck", [*argv, "-"], source)
        if isinstance(result, str):
            yield NOT_CHECKED.at(source.path, 0, result)
        elif result is not None:
            for said in _comments(result.stdout):
                text = f"SC{said['code']}: {said['message']}"
                yield SHELLCHECK.at(source.path, said["line"], text, column=said["column"])

    def missing(self) -> Iterator[Finding]:
        """Yield each tool that is not installed, once, at the first file that needed it."""
        for tool, paths in self._missing.items():
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            said = f"{tool} is not installed here: it has not checked this file{more}"
            yield NOT_CHECKED.at(paths[0], 0, said, mend=f"Install {tool}, or lint on the node.")

    def _run(self, tool: str, argv: Sequence[str], source: Source) -> CommandResult | str | None:
        """Run a tool: its result, or why it could not judge, or None if there is none."""
        if tool in self._missing:
            self._missing[tool].append(source.path)
            return None
        try:
            result = self._on.run(argv, stdin=source.content, timeout=_PATIENCE)
        except LimitExceeded as error:
            return f"{tool} {error.passed}"
        except TransportError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            result = None
        if result is None or result.exit_code == _MISSING:
            self._missing[tool] = [source.path]
            return None
        return result


def _refused(source: Source, said: str) -> Finding:
    """Return what the parser's refusal says, with the file that it blames."""
    found = _ERROR.search(said)
    if found is None:
        lines = [line for line in said.splitlines() if "Cache read/write" not in line]
        last = lines[-1].replace(_STDIN, source.path) if lines else "and says nothing"
        return PARSE.at(source.path, 0, f"apparmor_parser refuses it: {last}")
    if _ABSENT.search(found["said"]) and not source.base:
        text = f"{found['said']}: the includes of this profile are not on this machine"
        return NOT_CHECKED.at(source.path, int(found["line"][:9]), text)
    own = found["file"] in {None, _STDIN}
    if own:
        return PARSE.at(source.path, int(found["line"][:9]), found["said"])
    text = f"the parser blames {found['file']}, line {found['line']}: {found['said']}"
    return PARSE.at(source.path, 0, text)


def _comments(told: bytes) -> list[dict[str, Any]]:
    """Return shellcheck's comments; none if it did not write its own JSON."""
    try:
        found = json.loads(told)
    except (ValueError, RecursionError):
        return []
    comments = found if isinstance(found, list) else []
    wanted = {"code": int, "message": str, "line": int, "column": int}
    return [
        each
        for each in comments
        if isinstance(each, dict)
        and all(isinstance(each.get(key), kind) for key, kind in wanted.items())
    ]
