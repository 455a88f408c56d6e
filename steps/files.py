"""Scripts of the repository and files of the node and the container.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import json
import posixpath
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_bdd import parsers, then

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import dockerd, repository
from docker_lxc_gate.formats.daemon_json import READS_MARKS, mark, parse
from docker_lxc_gate.formats.shell_commands import ShellCommand, shell_commands, uncalled, unheeded
from docker_lxc_gate.verdict import evidence
from remediation import desired, phoenix
from remediation.applied import settings_before_and_after
from remediation.phoenix.description import template_of
from remediation.provision import of_template

if TYPE_CHECKING:
    from testinfra.host import Host

    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport


def _script(node: Transport, target: Target, path: str) -> str:
    """Return a script of the repository without comments and here-documents.

    bash must be able to parse it.
    """
    full = f"{target.repository}/{path}"
    script = node.ask(repository.file_of(target.repository, path))
    if script is None:
        raise FactError(f"{full} does not exist on {node.machine}, so it cannot be judged")
    assert b"\0" not in script, f"{full} is no valid bash: it has a NUL byte"  # bash drops it
    parsed = node.look(["bash", "-n"], stdin=script)
    defect = parsed.stderr.decode(errors="replace").strip() or "bash cannot parse it"
    assert parsed.ok, f"{full} is no valid bash: {defect}"
    bare = patterns.sub(r"(?m)^[ \t]*#.*$", "", script.decode(errors="replace"))
    return _without_documents(bare)


_WORD = r"[\w.!-]+"
_BEGIN = patterns.compile(
    rf"""(?P<less><+)(?P<dash>-?)[ \t]*(?:'({_WORD})'|"({_WORD})"|\\?({_WORD}))"""
)


def _without_documents(text: str) -> str:
    """Return a script without its here-documents, in as many lines.

    No line ends what only looks like one, such as ``$((1 << 2))``.
    """
    lines, ends = text.split("\n"), deque[tuple[str, str]]()
    last = {line.lstrip("\t"): number for number, line in enumerate(lines)}
    for number, line in enumerate(lines):
        if ends:
            dash, mark = ends[0]
            if mark == (line.lstrip("\t") if dash else line):
                ends.popleft()
            lines[number] = ""
            continue
        kept, at = [], 0
        for here in _BEGIN.finditer(line):
            mark = here[3] or here[4] or here[5]
            if here["less"] == "<<" and last.get(mark, 0) > number:
                ends.append((here["dash"], mark))
                kept.append(line[at : here.start()])
                at = here.end()
        lines[number] = "".join([*kept, line[at:]])
    return "\n".join(lines)


#: Commands that end a script, unless they stand in a condition.
_ENDS = patterns.compile(r"(?m)^(?:exit|return)\b.*$|^exec[ \t]+[^\s<>0-9&{].*$")
#: The commands of the plan's lines; a function of such a name would replace them.
_RUN = frozenset({"apt-get", "dpkg-query", "pct", "systemctl", "jq", "echo"})


def _require_reached(node: Transport, script: str, text: str, place: int, what: str) -> None:
    """Fail if a script ends before a place in it.

    If bash can parse the text before the ``exit``, the ``exit`` does not stand in a condition.
    """
    for ends in _ENDS.finditer(text[:place]):
        whole = node.look(["bash", "-n"], stdin=text[: ends.start()].encode()).ok
        assert not whole, f"{script} ends with '{ends[0]}' before {what}: the rest never runs"


def _require_called(
    script: str, commands: Sequence[ShellCommand], meant: Sequence[ShellCommand]
) -> None:
    """Fail if each of the commands stands in a function that the script never calls."""
    functions = ", ".join(uncalled(commands, meant))
    runs = any(not uncalled(commands, [command]) for command in meant)
    assert runs or not functions, (
        f"{script} never calls {functions}, in which the plan's lines stand"
    )


@then("the setup script writes the tunable before it reloads AppArmor")
def setup_script_writes_tunable(node: Transport, target: Target) -> None:
    """The plan's line must stand there once, uncommented, and before the reload."""
    text = _script(node, target, phoenix.SETUP_SCRIPT)
    line = patterns.escape(desired.TUNABLE.decode().strip())
    place = rf'{desired.TUNABLE_PATH}|(?:[^\s/"]|\S*\$)\S*/tunables/nesting'
    matches = list(
        patterns.compile(rf"""(?m)^[ \t]*echo '{line}' > "?(?:{place})"?$""").finditer(text)
    )
    assert len(matches) == 1, (
        f"{phoenix.SETUP_SCRIPT} writes the tunable {len(matches)} times to {desired.TUNABLE_PATH}"
    )
    reload = patterns.search(r"(?m)^[ \t]*systemctl reload apparmor", text)
    assert reload, f"{phoenix.SETUP_SCRIPT} does not reload AppArmor"
    assert matches[0].start() < reload.start(), "the tunable is written after AppArmor is reloaded"
    removes = rf"(?m)^(?:rm\b.*[ \t]|:?[ \t]*>[ \t]*){desired.TUNABLE_PATH}(?:[ \t;].*)?$"
    removed = patterns.search(removes, text[matches[0].end() : reload.start()])
    assert not removed, f"{phoenix.SETUP_SCRIPT} writes the tunable, and then runs '{removed[0]}'"
    _require_reached(node, phoenix.SETUP_SCRIPT, text, reload.start(), "AppArmor is reloaded")
    commands = shell_commands(text)
    writes = [command for command in commands if command.text == matches[0][0].strip()]
    _require_called(phoenix.SETUP_SCRIPT, commands, writes)


#: What enters a container, by its number or a variable; and what surely does not.
_ENTERS = patterns.compile(
    r"""\b(?:nsenter|lxc-attach|pct[ _]exec\b(?:[ \t]+["']?(?:([0-9]+)|\$\{?(\w+)))?)"""
)
_STAYS = patterns.compile(
    r"""(?s)(?:(?:env|eval|exec|nice|sudo|timeout|-\S+|\w+=\S*|[0-9]\S*)\s+)*["']?\$[@*].*"""
    r"""|(?::|true|echo)(?:\s.*)?"""
)
#: The commands of the plan's lines, and those that may run them although they stand in quotes.
_PLANS = patterns.compile(r"\b(?:apt-get (?:update|install)|systemctl restart)\b")
_RUNS = patterns.compile(
    r"(?:\S*/)?(?:bash|chroot|env|eval|exec|inside|lxc-attach|nice|nsenter|pct(?:_exec)?|sh|sudo|timeout)\b"
)


def _meant(commands: Sequence[ShellCommand]) -> list[ShellCommand]:
    """Return the commands that are meant for the container; a message may name them, too."""
    return [
        command
        for command in commands
        if _PLANS.search(command.text if _RUNS.match(command.text) else command.bare)
    ]


def _within(commands: Sequence[ShellCommand], meant: Sequence[ShellCommand]) -> list[ShellCommand]:
    """Return the commands of the functions that run the meant ones, such as ``inside``."""
    names = {command.name for command in meant}
    return [c for c in commands if not c.defines and names & {*c.functions}]


#: How many commands a message names.
_MOST = 10


@then("the install script stops at the first error")
def install_script_stops(node: Transport, target: Target) -> None:
    """``set -e`` must come before the first command that could fail."""
    text = _script(node, target, phoenix.INSTALL_SCRIPT)
    first = next((line for line in text.splitlines() if line.strip()), "")
    assert patterns.match(r"set -\w*e", first), (
        f"the install script begins with '{first}', not 'set -e'"
    )
    commands = shell_commands(text)
    meant = _meant(commands)
    goes_on, untold = ("; ".join(texts[:_MOST]) for texts in unheeded(commands, meant))
    enters = [c for c in _within(commands, meant) if c.then == "||" and _ENTERS.search(c.text)]
    goes_on = goes_on or "; ".join(unheeded([c for c in commands if c.defines], enters)[0])
    assert not goes_on, f"the install script goes on after an error of {goes_on}"
    if untold:
        raise FactError(f"could not tell whether the install script stops at an error of {untold}")


@then("the install script installs fuse-overlayfs only where it is missing")
def install_script_installs_once(node: Transport, target: Target) -> None:
    """The check must read dpkg's status: ``dpkg -l | grep`` also matches removed packages."""
    text = _script(node, target, phoenix.INSTALL_SCRIPT)
    guarded = patterns.findall(r"(?m)^if ! installed fuse-overlayfs; then\n(?:.*\n)*?fi$", text)
    assert len(guarded) == 1, f"fuse-overlayfs is checked for {len(guarded)} times, not once"
    installs = patterns.findall(r"(?m)^.*apt-get install.*fuse-overlayfs.*$", text)
    assert installs, "the install script does not install fuse-overlayfs"
    assert all(line in guarded[0] for line in installs), (
        "fuse-overlayfs is installed without being checked for"
    )
    assert "Status-Abbrev" in text, "the check does not ask for the package's status"
    what = "fuse-overlayfs is installed"
    _require_reached(node, "the install script", text, text.index(guarded[0]), what)


def _require_given(text: str, commands: Sequence[ShellCommand], ctid: int) -> None:
    """Fail if commands enter another container than ``ctid``, whichever the script is given."""
    assigned = patterns.findall(r"""(?m)^([ \t]*)(\w+)=["']?([0-9]{3,})?""", text)
    last = {name: "" if indent else number for indent, name, number in assigned}  # an if's is none
    matches = [match for command in commands if (match := _ENTERS.search(command.text))]
    numbers = {match[1] or last.get(match[2]) or "" for match in matches} - {"", str(ctid)}
    assert not numbers, (
        f"the install script enters container {', '.join(sorted(numbers))}, whichever it is "
        'given: pct exec "$CTID" enters that one'
    )


@then("every command for the container runs in the container")
def install_script_enters(node: Transport, target: Target) -> None:
    """The script runs on the node: if pasted literally, the plan's lines change the node."""
    text = _script(node, target, phoenix.INSTALL_SCRIPT)
    commands = shell_commands(text)
    meant = _meant(commands)
    assert meant, "the install script installs and restarts nothing"
    _require_called("the install script", commands, meant)
    outside = [c.text for c in meant if not patterns.match(r"(inside|pct[ _]exec)\b", c.text)]
    within = _within(commands, meant)
    outside += [c.text for c in within if all(_STAYS.fullmatch(other.text) for other in within)]
    outside += patterns.findall(r"(?m)^.*>\s*\S*/etc/docker/daemon\.json.*$", text)
    assert not outside, f"these run on the node instead of in the container: {outside}"
    _require_given(text, [*meant, *within], target.ctid)
    defined = [c.defines for c in commands if c.defines]
    twice = sorted({name for name in defined if name in _RUN or defined.count(name) > 1})
    assert not twice, (
        f"the install script redefines {', '.join(twice)}, so its lines run that function: give it "
        "another name"
    )


@then(parsers.parse('"{package}" is installed in the container and not on the node'))
def package_is_inside(host: Host, node_host: Host, package: str) -> None:
    """Ask testinfra on both sides; dpkg itself proves that the node's packages can be read."""
    if not node_host.package("dpkg").is_installed:
        raise FactError("the node's packages cannot be read: not even dpkg is listed")
    inside = host.package(package)
    assert inside.is_installed, f"{package} is not installed in the container"
    assert not node_host.package(package).is_installed, (
        f"{package} is installed on the node: the step for the container ran on the hypervisor"
    )
    evidence.say(f"{package} {inside.version}")


@then(parsers.parse('daemon.json names the storage driver "{driver}"'))
def daemon_json_names(host: Host, runtime: Runtime, ctid: int, driver: str) -> None:
    """Docker reads this file at its start, and does not start if it cannot read it."""
    daemon = dockerd.find(runtime, ctid)
    if elsewhere := _read_elsewhere(daemon):
        raise AssertionError(elsewhere)
    value = _settings(host).get("storage-driver")
    assert value == driver, f"{desired.DAEMON_JSON} names the storage driver {value!r}"
    refused = _refused_settings(daemon, runtime, ctid)
    assert not refused, (
        f"Docker does not start on daemon.json as it is now, and runs with the settings that it "
        f"read before: {refused}"
    )


def _refused_settings(daemon: dockerd.Daemon | None, runtime: Runtime, ctid: int) -> str:
    """Return dockerd's error about its settings, by ``--validate`` with its own command line.

    Empty if there is none, before Docker 23.0, or if another program starts dockerd.
    """
    if not daemon or posixpath.basename(next(iter(daemon.argv), "")) != "dockerd":
        return ""
    asked = runtime.inside(ctid).look([*daemon.argv, "--validate"])
    text = (asked.stderr + asked.stdout).decode(errors="replace").strip()
    if asked.ok or "unknown flag" in text:
        return ""
    return (
        text.splitlines()[-1][:300] if text else f"dockerd --validate ended with {asked.exit_code}"
    )


def _settings(host: Host) -> dict[str, Any]:
    """Return daemon.json's settings; an absent or unreadable file is not compliant."""
    file = host.file(desired.DAEMON_JSON)
    assert file.exists, f"{desired.DAEMON_JSON} is absent in the container"
    content: bytes = file.content
    _require_readable_mark(host, content)
    try:
        return parse(content)
    except ValueError as error:
        place, why = "", str(error)
        if isinstance(error, json.JSONDecodeError):
            place, why = f", line {error.lineno}, column {error.colno}", error.msg
        raise AssertionError(
            f"{desired.DAEMON_JSON}{place}: not JSON ({why}); Docker does not start on it"
        ) from error


def _require_readable_mark(host: Host, content: bytes) -> None:
    """Fail if the file begins with a byte order mark that this Docker does not read."""
    if not mark(content):
        return
    version = host.run("dockerd --version").stdout.strip()
    major = patterns.match(r"Docker version ([0-9]{1,6})\.", version)
    if major is None:
        raise FactError(
            f"{desired.DAEMON_JSON} begins with a byte order mark, which Docker reads from "
            f"version {READS_MARKS} on, but dockerd --version printed {version[:200]!r}"
        )
    assert int(major[1]) >= READS_MARKS, (
        f"{desired.DAEMON_JSON} begins with a byte order mark, and Docker {major[1]} does "
        f"not start on it (from {READS_MARKS} on it does): save the file as UTF-8 without one"
    )


@then("daemon.json kept the user's other settings")
def daemon_json_kept(host: Host, node: Transport, runtime: Runtime, target: Target) -> None:
    """The plan must keep the settings from before it, for example a registry mirror."""
    if elsewhere := _read_elsewhere(dockerd.find(runtime, target.ctid)):
        raise FactError(f"{elsewhere}, so it does not hold Docker's settings")
    applied = settings_before_and_after(runtime.node, target.ctid)
    before, after = applied or (_of_its_template(node, target), None)
    file = host.file(desired.DAEMON_JSON)
    if not file.exists:
        raise FactError(f"{desired.DAEMON_JSON} is absent: whether it kept settings is unknown")
    now = _others(file.content)
    if before is None:
        if not now:
            raise FactError(
                f"{desired.DAEMON_JSON} holds the storage driver only, and neither a journal "
                "nor phoenix's description of the container tells the settings before the plan"
            )
        evidence.say(f"has {', '.join(sorted(now))}; the settings before the plan are not known")
        return
    had = _others(before)
    left = now if after is None else _others(after)  # without a journal, the plan left these
    lost = sorted(key for key, value in had.items() if left.get(key) != value)
    assert not lost, f"the user's settings are lost: {', '.join(lost)}"
    since = ", ".join(sorted(key for key, value in had.items() if now.get(key) != value))
    kept = f"kept: {', '.join(sorted(had)) or 'nothing, because there was nothing'}"
    evidence.say(f"{kept}; changed since apply: {since}" if since else kept)


def _read_elsewhere(daemon: dockerd.Daemon | None) -> str:
    """Return a message if a running dockerd reads another settings file; else empty."""
    if daemon is None or daemon.settings == desired.DAEMON_JSON:
        return ""
    return (
        f"dockerd reads its settings from {daemon.settings[:200]!r} (--config-file on its command "
        f"line, see systemctl cat docker), so {desired.DAEMON_JSON} has no effect"
    )


def _of_its_template(node: Transport, target: Target) -> bytes | None:
    """Return the settings in the template that phoenix made the container from, if it did."""
    described = node.ask(repository.file_of(target.repository, phoenix.CONTAINERS))
    template = template_of(described, target.ctid)
    return of_template(node, template, desired.DAEMON_JSON) if template else None


def _others(text: bytes) -> dict[str, Any]:
    try:
        settings = parse(text)
    except ValueError as error:  # including bytes that are not text
        raise FactError(
            f"{desired.DAEMON_JSON} is not JSON ({error}): whether it kept settings is unknown"
        ) from error
    return {key: value for key, value in settings.items() if key != "storage-driver"}
