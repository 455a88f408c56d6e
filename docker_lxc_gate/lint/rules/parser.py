"""What apparmor_parser says of a profile.

It gets the file's bytes, and loads nothing. If it is not installed, or could not judge, that is
advice: the file is then not known to be good.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import LimitExceeded, TransportError
from docker_lxc_gate.lint import includes
from docker_lxc_gate.machines.process import ENDS_WITH_ITS_PARENT, MEMORY, SECONDS, limited
from docker_lxc_gate.machines.transport import Transport

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
    r"(?P<message>.*)"
)
_ABSENT = patterns.compile(r"Could not open '[^/]|No such file or directory")
#: The longest that one profile may take, and all of a run together (seconds).
_PATIENCE, _IN_ALL = 20.0, 60.0
_MISSING, _SIGNALLED = 127, 128
#: What the parser says when it gets no more memory.
_FULL = b"terminate called after throwing an instance of 'std::bad_alloc'"


class Parser:
    """The apparmor_parser of a machine, for one run."""

    def __init__(self, on: Transport) -> None:
        self._on, self._left = on, _IN_ALL
        self._unparsed: list[Source] = []

    def check(self, source: Source) -> Iterator[Finding]:
        """Yield what the parser says of a profile, with the includes in its ``base``."""
        if name := includes.leading_out(source):
            why = f"the include '{name}' leads out of {source.base or includes.OWN}"
            yield source.at("not-checked", 0, f"apparmor_parser did not get it: {why}")
            return
        if self._unparsed:
            self._unparsed.append(source)
            return
        try:
            result = self._run(source)
            if not source.base and _NO_LXCS.search(result.stderr):
                result = self._run(replace(source, content=_LXCS.sub(b"", source.content)))
        except _NotInstalled:
            self._unparsed.append(source)
        except _NotJudged as error:
            yield source.at("not-checked", 0, f"apparmor_parser {error}")
        else:
            if not result.ok:
                yield _refused(source, result.stderr.decode(errors="surrogateescape"))

    def missing(self) -> Iterator[Finding]:
        """Yield once that the parser is not installed, at the first file that needed it."""
        for source in self._unparsed[:1]:
            others = len(self._unparsed) - 1
            more = f" and {others} more" if others else ""
            cause = f"apparmor_parser is not installed here: it has not checked this file{more}"
            fix = "Install apparmor_parser, or lint on the node."
            yield source.at("not-checked", 0, cause, fix=fix)

    def _run(self, source: Source) -> CommandResult:
        if self._left <= 0:
            raise _NotJudged(f"was not started: the profiles of a run have {_IN_ALL:g} s together")
        begun = time.monotonic()
        argv = limited("sh", "-c", _PARSE, "parse", source.base)
        patience = min(_PATIENCE, self._left)
        try:
            result = self._on.run(argv, stdin=source.content, timeout=patience)
        except LimitExceeded as error:
            raise _NotJudged(error.passed) from error
        except TransportError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise _NotInstalled from error
            raise
        finally:
            self._left -= time.monotonic() - begun
        if result.exit_code == _MISSING:
            raise _NotInstalled
        if result.exit_code > _SIGNALLED or _FULL in result.stderr:
            raise _NotJudged(f"reached its limit of {MEMORY >> 30} GiB or of {SECONDS} s")
        return result


class _NotInstalled(Exception):
    """The machine has no parser, or not the programs that limit it."""


class _NotJudged(Exception):
    """The parser did not come to an end; the text says why, after its name."""


def _refused(source: Source, stderr: str) -> Finding:
    """Return what the parser's refusal says, with the file that it blames."""
    match = _ERROR.search(stderr)
    if match is None:
        lines = [line for line in stderr.splitlines() if "Cache read/write" not in line]
        last = lines[-1].replace(_STDIN, source.path) if lines else "and says nothing"
        return source.at("profile-parse-error", 0, f"apparmor_parser refuses it: {last}")
    if _ABSENT.search(match["message"]) and not source.base:
        text = f"{match['message']}: the includes of this profile are not on this machine"
        return source.at("not-checked", int(match["line"][:9]), text)
    own = match["file"] in {None, _STDIN}
    if own:
        return source.at("profile-parse-error", int(match["line"][:9]), match["message"])
    text = f"the parser blames {match['file']}, line {match['line']}: {match['message']}"
    return source.at("profile-parse-error", 0, text)
