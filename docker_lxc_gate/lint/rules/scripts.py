"""Shell scripts that enter containers: commands that do not do what they say.

Sources: bash(1), dpkg(1), pct(1), lxc-attach(1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

from docker_lxc_gate import patterns
from docker_lxc_gate.lint.finding import Edit, Finding, Source
from docker_lxc_gate.lint.shell_text import Command, TooTangled, commands

#: What may stand before a command's name. In a text that it cannot read whole, the parser takes
#: reserved words for names.
_BEFORE = frozenset(
    {"sudo", "time", "if", "then", "else", "elif", "while", "until", "do", "!", "{"}
)
_ASSIGNMENT = patterns.compile(r"(?s)[A-Za-z_]\w*\+?=.*")
#: What has no program of its name on Debian, only a meaning in a shell.
_BUILTINS = frozenset({"command", "type", "cd", "source", "export", "umask", "shopt", "local"})
#: What belongs into the container that a script enters.
_PACKAGES = patterns.compile(r"[\"']?(docker[\w.+-]*|fuse-overlayfs|containerd[\w.+-]*|runc)[\"']?")
_SERVICES = patterns.compile(r"[\"']?(docker|containerd)(\.service|\.socket)?[\"']?")
_VERBS = frozenset({"start", "restart", "reload", "enable", "try-restart"})
_SETTINGS = patterns.compile(r"[0-9]?>{1,2}\|?\s*[\"']?/etc/docker/daemon\.json[\"']?")
_OPTIONS = patterns.compile(r"(?i)(lxc|pct)_?opt|mount_?entr")
_UNQUOTED = patterns.compile(r"\$[\w({]|`")
#: What writes so little, and at once, that no reader's end can hurt it.
_SHORT = frozenset({"echo", "printf", "uname", "id", "hostname", "whoami", "date", "head", "stat"})
_SHORT_PAIRS = frozenset({("pct", "status"), ("qm", "status"), ("systemctl", "is-active")})
#: Shells that may have no pipefail, and then end at the line that wants it: dash.
_WITHOUT_PIPEFAIL = patterns.compile(rb"#![ \t]*\S*/(?:env[ \t]+)?(?:da)?sh\b")
#: The option of set that takes a name, alone or after others.
_WITH_NAME = patterns.compile(r"[-+][A-Za-z]*o")
#: Options of timeout that take a value.
_OF_TIMEOUT = frozenset({"-k", "-s", "--kill-after", "--signal"})


def check(source: Source) -> Iterator[Finding]:
    """Yield what is wrong in a script that bash can parse."""
    try:
        found = commands(source.text)
    except TooTangled:
        said = "its commands are too tangled to be read in a few seconds"
        yield source.at("not-checked", 0, said, fix="Lint a script of a person.")
        return
    wrappers = _wrappers(found)
    enters = any(_entered(_bare(each.words), wrappers) is not None for each in found)
    pipefail = False
    for each in found:
        words = _bare(each.words)
        pipefail = _pipefail(words, pipefail) and not _WITHOUT_PIPEFAIL.match(source.content)
        yield from _builtin(source, each, words, wrappers)
        yield from _pipes(source, each, words, wrappers, pipefail=pipefail)
        if enters:
            yield from _on_node(source, each, words)
        if words[:1] == ["for"] and "IFS=$'\\n'" not in source.text:
            yield from _splits(source, each, words)


def executed(source: Source, names: Sequence[str]) -> Iterator[str]:
    """Yield which scripts, of files with these names, a script executes by their paths."""
    try:
        found = commands(source.text)
    except TooTangled:
        return
    for each in found:
        program = (_bare(each.words) or [""])[0].strip("\"'")
        name = program.rpartition("/")[2]
        if "/" in program and name in names:
            yield name


def not_executable(sources: Sequence[Source]) -> Iterator[Finding]:
    """Yield the scripts that another one executes, and that nobody may execute."""
    plain = {s.name: s for s in sources if not s.mode & 0o111 and s.content.startswith(b"#!")}
    said = set[str]()
    for source in sources if plain else ():
        for name in executed(source, list(plain)):
            if name not in said:
                said.add(name)
                script = plain[name]
                text = f"{source.path} executes it, and its mode is {script.mode & 0o777:o}"
                yield script.at("script-not-executable", 0, text, edit=Edit(executable=True))


def _pipefail(words: Sequence[str], before: bool) -> bool:
    """Return whether pipefail is on after a command."""
    if words[:1] == ["set"]:
        options = list(takewhile(lambda word: word != "--", words[1:]))
        for option, name in pairwise(options):
            if name.strip("\"'") == "pipefail" and _WITH_NAME.fullmatch(option):
                return option.startswith("-")
    return before


def _bare(words: Sequence[str]) -> list[str]:
    """Return a command without reserved words, sudo and assignments before it."""
    left = list(words)
    while left and (left[0] in _BEFORE or _ASSIGNMENT.fullmatch(left[0])):
        left.pop(0)
    return left


def _wrappers(found: Sequence[Command]) -> frozenset[str]:
    """Return the functions that hand their arguments to a container as a command."""
    return frozenset(
        each.function
        for each in found
        if each.function
        and _entered(_bare(each.words), frozenset()) is not None
        and any(word in {'"$@"', "$@", '"${@}"'} for word in each.words)
    )


def _entered(started: Sequence[str], wrappers: frozenset[str]) -> list[str] | None:
    """Return what a command executes in a container; None if it enters none."""
    words = _program(started)
    if words[:2] == ["pct", "exec"] or words[:1] == ["lxc-attach"]:
        if "--" in words:
            return words[words.index("--") + 1 :]
        return words[3:] if words[0] == "pct" else []
    if words and words[0] in wrappers:
        return words[1:]
    return None


def _program(words: Sequence[str]) -> list[str]:
    """Return what timeout, env, nice and nohup before a command start in the end."""
    left = list(words)
    while left and left[0] in {"timeout", "env", "nohup"}:
        kind = left.pop(0)
        while left and (left[0].startswith("-") or _ASSIGNMENT.fullmatch(left[0])):
            if left.pop(0) in _OF_TIMEOUT and left:
                left.pop(0)
        if kind == "timeout" and left:
            left.pop(0)
    return left


def _builtin(
    source: Source, each: Command, words: Sequence[str], wrappers: frozenset[str]
) -> Iterator[Finding]:
    inner = _entered(words, wrappers)
    if inner is None and words and words[0] in {"timeout", "env", "nohup"}:
        inner = list(words)
    started = _program(inner or [])
    if started and started[0] in _BUILTINS:
        said = f"{' '.join(started[:3])} is executed by {words[0]}, without a shell"
        yield source.at("script-builtin-executed", each.line, said)


def _pipes(
    source: Source, each: Command, words: Sequence[str], wrappers: frozenset[str], *, pipefail: bool
) -> Iterator[Finding]:
    if not each.reads or not words or words[0] not in {"grep", "egrep", "fgrep"}:
        return
    writer = _bare(each.reads)
    inner = _program(_entered(writer, wrappers) or writer)
    if inner[:1] == ["dpkg"] and {"-l", "--list"} & set(inner):
        if not any("ii" in word for word in words[1:]):
            said = f"'{' '.join(inner)} | {' '.join(words)}' is no test for an installed package"
            yield source.at("script-dpkg-grep", each.line, said)
    elif pipefail and inner and _quiet(words):
        if inner[0] in _SHORT or tuple(inner[:2]) in _SHORT_PAIRS:
            return
        said = f"'{words[0]} -q' reads from {inner[0]} through a pipe, under pipefail"
        yield source.at("script-grep-quiet-pipefail", each.line, said)


def _quiet(words: Sequence[str]) -> bool:
    options = [word for word in words[1:] if word.startswith("-")]
    return any(
        word in {"--quiet", "--silent"} or patterns.fullmatch(r"-[A-Za-z]*q[A-Za-z]*", word)
        for word in options
    )


def _on_node(source: Source, each: Command, words: Sequence[str]) -> Iterator[Finding]:
    """Yield a command that sets up Docker outside of the container."""
    program, does = words[:1], ""
    if any(map(_SETTINGS.fullmatch, each.words)):
        does = "writes /etc/docker/daemon.json of the node"
    elif program in (["apt-get"], ["apt"]) and "install" in words:
        does = "installs it on the node" if any(map(_PACKAGES.fullmatch, words)) else ""
    elif program == ["systemctl"] and _VERBS & set(words):
        does = "is about the node's service" if any(map(_SERVICES.fullmatch, words)) else ""
    if does:
        said = f"'{' '.join(words)[:120]}' {does}"
        yield source.at("script-runs-on-node", each.line, said)


def _splits(source: Source, each: Command, words: Sequence[str]) -> Iterator[Finding]:
    for word in words[3:] if words[2:3] == ["in"] else ():
        if _UNQUOTED.match(word) and _OPTIONS.search(word):
            said = f"'for {words[1]} in {word[:80]}' splits at every space"
            yield source.at("script-splits-option", each.line, said)
