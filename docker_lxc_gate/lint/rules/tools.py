"""What the tools themselves say of a file: apparmor_parser, bash and shellcheck.

Each gets the file's bytes, and runs nothing in them. A tool that is missing, or that could not
judge, is said as advice: the file is then not known to be good.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import LimitExceeded, TransportError
from docker_lxc_gate.lint import includes
from docker_lxc_gate.machines.process import ENDS_WITH_ITS_PARENT, MEMORY, SECONDS, limited
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Local, Transport

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Finding, Source
    from docker_lxc_gate.machines.result import CommandResult


#: Includes are looked up in $1; empty: where the parser looks by itself. Never loaded (-Q), never
#: taken from or put into a cache (-K). Through a pipe, since sshd may give a socket, which cannot
#: be opened by its name; and by a name, with which the parser tells which file it blames.
_STDIN = "/dev/stdin"
_PARSE = (
    'PATH="$PATH:/usr/sbin:/sbin"; command -v apparmor_parser >/dev/null || exit 127; '
    f'cd -- "${{1:-{includes.OWN}}}" || exit 127; '
    f"cat | {shlex.join(ENDS_WITH_ITS_PARENT)} apparmor_parser --skip-kernel-load --skip-cache "
    f'${{1:+--base "$1"}} {_STDIN} >/dev/null'
)
#: LXC's abstractions, which only a node has. For the parser, they are empty elsewhere.
_ABSTRACTION = "abstractions/lxc/(?:container-base|start-container)"
_LXCS = patterns.compile(rf"#?include\s+(?:if\s+exists\s+)?<{_ABSTRACTION}>".encode())
_NO_LXCS = patterns.compile(f"Could not open '{_ABSTRACTION}'".encode())
_ERROR = patterns.compile(
    r"AppArmor parser error(?: for \S+)?(?: in profile (?P<file>\S+))? at line (?P<line>[0-9]+): "
    r"(?P<said>.*)"
)
_ABSENT = patterns.compile(r"Could not open '[^/]|No such file or directory")
_BASH = patterns.compile(r"(?m)^bash: line (?P<line>[0-9]+): (?P<said>.*)$")
#: What a sourced file lacks on purpose: the line that names its shell.
_NOT_MEANT = (2148, 2187)
#: Without -x, it follows no "source"; its other files are copies.
_SHELLCHECK = (
    *("shellcheck", "--norc", "-f", "json", "-S", "error", "-s", "bash", "-e"),
    ",".join(f"SC{number}" for number in _NOT_MEANT),
)
_COPIES = program("docker_lxc_gate.lint", "copies.pl")
_COPY, _FIRST_COPY = "/dev/fd/", 100
#: So many scripts, of so many bytes, are one call of shellcheck: a tenth of its time.
_TOGETHER, _BYTES = 50, 1 << 17
#: The longest that a tool may take, and all tools of a run together (seconds).
_PATIENCE, _IN_ALL = 20.0, 60.0
_MISSING, _SIGNALLED = 127, 128
#: What bash, shellcheck and apparmor_parser say when they get no more memory.
_FULL = patterns.compile(
    rb"(?m)^(?:bash: x(?:m|re)alloc: cannot allocate |shellcheck: .*(?:virtual memory|[Hh]eap)|"
    rb"terminate called after throwing an instance of 'std::bad_alloc')"
)
#: shellcheck's exit codes if it read all files.
_READ = (0, 1)


class Tools:
    """The tools of a machine, for one run; ``parsed`` says which profiles are parsed."""

    def __init__(self, on: Transport, parsed: Callable[[Source], bool] = lambda _: True) -> None:
        self._on, self._parsed, self._left = on, parsed, _IN_ALL
        self._missing: dict[str, list[Source]] = {}

    def parse(self, source: Source) -> Iterator[Finding]:
        """Yield what apparmor_parser says of a profile, with the includes in its ``base``."""
        if not self._parsed(source):
            return
        if why := includes.refused(source, here=isinstance(self._on, Local)):
            yield source.at("not-checked", 0, f"apparmor_parser did not get it: {why}")
            return
        argv = ["sh", "-c", _PARSE, "parse", source.base]
        result = self._run("apparmor_parser", argv, [source])
        if not source.base and not isinstance(result, str) and _NO_LXCS.search(result.stderr):
            bare = replace(source, content=_LXCS.sub(b"", source.content))
            result = self._run("apparmor_parser", argv, [bare])
        if isinstance(result, str):
            yield from self._unchecked([source], result)
        elif not result.ok:
            yield _refused(source, result.stderr.decode(errors="surrogateescape"))

    def syntax(self, source: Source) -> Iterator[Finding]:
        """Yield the first error of syntax that bash finds in a script."""
        argv = ["env", "-u", "BASH_ENV", "LC_ALL=C", "bash", "--norc", "-n"]
        result = self._run("bash", argv, [source])
        if isinstance(result, str):
            yield from self._unchecked([source], result)
        elif not result.ok:
            said = _BASH.search(result.stderr.decode(errors="surrogateescape"))
            if said:
                yield source.at("script-syntax", int(said["line"][:9]), said["said"])
            else:
                yield source.at("script-syntax", 0, f"bash -n ended with {result.exit_code}")

    def shellcheck(self, sources: Sequence[Source]) -> Iterator[Finding]:
        """Yield what shellcheck calls errors in scripts, many of them in one call.

        A call that fails is made again with each half: no script hides what is in another one.
        """
        waiting = list(_together(sources))[::-1]
        while waiting:
            some = waiting.pop()
            lengths = " ".join(str(len(each.content)) for each in some)
            argv = ["perl", "-e", _COPIES, lengths, *_SHELLCHECK, "--"]
            result = self._run("shellcheck", argv, some)
            if not isinstance(result, str):
                listed = _comments(result.stdout) if result.exit_code in _READ else None
                result = f"shellcheck ended with {result.exit_code}"
                if listed is not None:
                    copies = {f"{_COPY}{at}": each for at, each in enumerate(some, _FIRST_COPY)}
                    for said in listed:
                        if source := copies.get(said.file):
                            text = f"SC{said.code}: {said.message}"
                            yield source.at(
                                "script-shellcheck", said.line, text, column=said.column
                            )
                    continue
            if len(some) > 1 and result and self._left > 0:
                waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
            else:
                yield from self._unchecked(some, result)

    def missing(self) -> Iterator[Finding]:
        """Yield each tool that is not installed, once, at the first file that needed it."""
        for tool, sources in self._missing.items():
            more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
            said = f"{tool} is not installed here: it has not checked this file{more}"
            fix = f"Install {tool}, or lint on the node."
            yield sources[0].at("not-checked", 0, said, fix=fix)

    def _unchecked(self, sources: Sequence[Source], why: str) -> Iterator[Finding]:
        """Yield that files could not be judged; a tool that is missing is said at the end."""
        if why:
            yield from (source.at("not-checked", 0, why) for source in sources)

    def _run(
        self, tool: str, argv: Sequence[str], sources: Sequence[Source]
    ) -> CommandResult | str:
        """Run a tool: its result, or why it could not judge, empty if it is not installed."""
        if tool in self._missing:
            self._missing[tool] += sources
            return ""
        if self._left <= 0:
            return f"{tool} was not started: the tools of a run have {_IN_ALL:g} s together"
        begun = time.monotonic()
        try:
            content = b"".join(source.content for source in sources)
            patience = min(_PATIENCE, self._left)
            result = self._on.run(limited(*argv), stdin=content, timeout=patience)
        except LimitExceeded as error:
            return f"{tool} {error.passed}"
        except TransportError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            result = None
        finally:
            self._left -= time.monotonic() - begun
        if result is None or result.exit_code == _MISSING:
            self._missing[tool] = [*sources]
            return ""
        if result.exit_code > _SIGNALLED or _FULL.search(result.stderr):
            return f"{tool} reached its limit of {MEMORY >> 30} GiB or of {SECONDS} s"
        return result


def _refused(source: Source, said: str) -> Finding:
    """Return what the parser's refusal says, with the file that it blames."""
    found = _ERROR.search(said)
    if found is None:
        lines = [line for line in said.splitlines() if "Cache read/write" not in line]
        last = lines[-1].replace(_STDIN, source.path) if lines else "and says nothing"
        return source.at("profile-parse-error", 0, f"apparmor_parser refuses it: {last}")
    if _ABSENT.search(found["said"]) and not source.base:
        text = f"{found['said']}: the includes of this profile are not on this machine"
        return source.at("not-checked", int(found["line"][:9]), text)
    own = found["file"] in {None, _STDIN}
    if own:
        return source.at("profile-parse-error", int(found["line"][:9]), found["said"])
    text = f"the parser blames {found['file']}, line {found['line']}: {found['said']}"
    return source.at("profile-parse-error", 0, text)


def _together(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Yield the scripts of one call each."""
    some: list[Source] = []
    size = 0
    for source in sources:
        if some and (len(some) == _TOGETHER or size + len(source.content) > _BYTES):
            yield some
            some, size = [], 0
        some.append(source)
        size += len(source.content)
    yield from [some] * bool(some)


class _Comment(msgspec.Struct):
    """What shellcheck says of one place, as its own JSON has it."""

    file: str
    line: int
    column: int
    code: int
    message: str


def _comments(told: bytes) -> list[_Comment] | None:
    """Return what shellcheck's own JSON lists; None if it did not write it."""
    try:
        return msgspec.json.decode(told, type=list[_Comment])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
