"""What the next boot of a machine does with a service, as its systemd says.

"Enabled" is a setting. Whether a boot starts a service depends on more: the default target, masks,
and conditions. What it starts depends on the unit and its environment now, not at the last start.
Sources: systemd-analyze(1) (condition), systemctl(1) (list-dependencies), systemd.exec(5)
(EnvironmentFile), systemd.service(5) (command lines).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import cut, listed

if TYPE_CHECKING:
    from docker_lxc_gate.facts.dockerd import Daemon

DOCKER, _CONTAINERD = "docker.service", "containerd.service"
#: Prints failed conditions, whether the default target leads to a service, or to another one that
#: needs it, which of its programs cannot be run, and how each unit that the service needs was
#: loaded. What systemd has loaded may be older than what enables a service. systemd before 250
#: evaluates no unit's conditions.
_NEXT = """
systemd-analyze condition --unit="$1" 2>&1 | grep ' failed\\.$'
target=$(systemctl get-default) || exit
case $(systemctl is-enabled "$1") in disabled | enabled-runtime) own= ;; *) own="-e $1" ;; esac
by=$(systemctl show "$1" -p RequiredBy -p WantedBy -p BoundBy --value | tr ' ' '\\n' |
    sed -n 's/.*\\.service$/-e &/p')
systemctl list-dependencies --plain --full -- "$target" | tr -d ' ' | grep -qxF $own $by ||
    echo "$target does not start it"
systemctl show "$1" -p ExecCondition -p ExecStartPre -p ExecStart -p ExecStartPost |
    sed -n 's/^[A-Za-z]*={ path=\\(.*\\) ; argv\\[\\]=.* ; ignore_errors=no ; .*/\\1/p' |
    while read -r program; do test -x "$program" || echo "$program cannot be run"; done
needs=$(systemctl show "$@" -p Requires -p Requisite -p BindsTo --value)
systemctl show -p Id -p LoadState -p UnitFileState -- $needs "$@"
"""
_STATES = patterns.compile(r"Id=(\S+)\nLoadState=(\S+)(?:\nUnitFileState=(\S+))?")
#: The state of a unit that is masked below /run, which no boot keeps.
_UNTIL_BOOT = "masked-runtime"
_STARTABLE = frozenset({"loaded", "merged"})
#: Whether all conditions together fail: of some one is enough. Then each that fails is named.
_FAIL = patterns.compile(r"(?m)^(?:Conditions|Asserts) failed\.$")
_FAILED = patterns.compile(r"(?m)^\S+: ((?:Condition|Assert)\w+=.*) failed\.$")
#: The option with which packages let dockerd use the containerd of its own unit.
_WITH_CONTAINERD = patterns.compile(r"--containerd[= ]/run/containerd/containerd\.sock\b")
#: The command line that systemd would start, with variables unexpanded.
_WOULD_START = patterns.compile(r"(?m)^\{ path=(\S*/dockerd) ; argv\[\]=(.*?) ; ")
_UNIT = ("ExecStart", "NeedDaemonReload", "Environment", "UnsetEnvironment", "EnvironmentFiles")
#: A variable in quotes without escapes, or without quotes.
_ASSIGNMENT = patterns.compile(
    r"""(?m)^[ \t]*([A-Za-z_][A-Za-z0-9_]{0,99})[ \t]*=[ \t]*"""
    r"""(?:"([^"\\\n]*)"|'([^'\n]*)'|([^\s"'\\](?:[^\n"'\\]*[^\s"'\\])?)?)[ \t]*$"""
)
#: How many names a message lists.
_NAMED = 4


def obstacle(on: Transport, service: str) -> str:
    """Return why a machine's next boot does not start a service; empty if it does.

    Docker needs containerd if its command line names that one's socket; else it starts its own.
    Raises RemediationError if systemd does not answer.
    """
    needs = [service]
    if service == DOCKER and _WITH_CONTAINERD.search(_unit(on)["ExecStart"]):
        needs.append(_CONTAINERD)
    text = on.look(["sh", "-c", _NEXT, "next-boot", *needs], timeout=120).require().text
    if _FAIL.search(text):
        failed = ", ".join(_FAILED.findall(text)) or "a condition"
        return f"{cut(failed)} of {service} fails now"
    if match := patterns.search(r"(?m)^(\S+) does not start it$", text):
        how = f"systemctl enable {service}, or set-default with another target"
        return f"the default target is {cut(match[1])}, which does not start {service} ({how})"
    if match := patterns.search(r"(?m)^(/.*) cannot be run$", text):
        return f"{service} runs {cut(match[1])}, which is not there, or not executable"
    if not (states := _STATES.findall(text)):
        raise FactError(
            f"on {on.machine} systemd does not say how {service} is loaded: {cut(text)}"
        )
    for unit, state, file in states:
        if state not in _STARTABLE and file != _UNTIL_BOOT:
            return f"{service} needs {cut(unit)}, which is {cut(state)}"
    return ""


def _unit(container: Transport) -> dict[str, str]:
    """Return what systemd would start, by the names of ``_UNIT``."""
    argv = ["systemctl", "show", "docker", *(f"-p{name}" for name in _UNIT)]
    text = container.look(argv).text
    return {name: "\n".join(patterns.findall(rf"(?m)^{name}=(.*)$", text)) for name in _UNIT}


def difference(container: Transport, daemon: Daemon) -> str:
    """Return how what the next boot starts differs from the running dockerd; empty if it does not.

    A value of the environment is not told: it may be a secret. Another program may start dockerd:
    then nothing is known, and nothing differs.
    """
    unit = _unit(container)
    if unit["NeedDaemonReload"] == "yes":
        return "systemd has not read its changed files yet"
    match = _WOULD_START.search(unit["ExecStart"])
    if match is None:
        return ""
    runs, environment = " ".join(daemon.argv).split(), _environment(container, unit)
    if not _fits(match[2].split(), environment, runs):
        cause = f"it says '{cut(match[2])}', but '{cut(' '.join(runs))}' runs"
        variables = listed(sorted(environment), _NAMED)
        return f"{cause} (variables: {variables})" if environment else cause
    has = _running(daemon, environment)
    changed = sorted(name for name, value in environment.items() if has.get(name) != value)
    return f"the running dockerd lacks its {listed(changed, _NAMED)}" if changed else ""


def _environment(container: Transport, unit: dict[str, str]) -> dict[str, str]:
    """Return the variables that the unit and its files set; the last one of a name counts."""
    variables = assignments("\n".join(_words(unit["Environment"])))
    for file in unit["EnvironmentFiles"].splitlines():
        path = file.partition(" (ignore_errors=")[0]
        variables |= assignments((container.read(path) or b"").decode(errors="replace"))
    unset = unit["UnsetEnvironment"].split()
    return {name: value for name, value in variables.items() if name not in unset}


def assignments(text: str) -> dict[str, str]:
    """Return the variables of an environment file, those alone whose value is plain to see."""
    return {name: one or two or plain for name, one, two, plain in _ASSIGNMENT.findall(text)}


def _words(text: str) -> list[str]:
    """Split as systemd does; what has no closing quote is one word."""
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _fits(line: list[str], environment: dict[str, str], runs: list[str]) -> bool:
    """Whether systemd makes a command line of these words.

    A variable that is a word by itself becomes the words of its value. Of any other, and of one
    that the unit does not set, nothing is known: then the words without one must be there.
    """
    if all("$" not in word or environment.get(word[1:]) is not None for word in line):
        values = (environment[word[1:]] if "$" in word else word for word in line)
        return [word for value in values for word in value.split()] == runs
    left = iter(runs)
    return all(word in left for word in line if "$" not in word)


def _running(daemon: Daemon, names: Iterable[str]) -> dict[str, str]:
    """Return those variables of the running dockerd, read from the node; no other is looked at."""
    if not (wanted := "|".join(names)):
        return {}
    argv = ["grep", "-azE", f"^({wanted})=", f"/proc/{daemon.pid}/environ"]
    entries = daemon.runtime.node.look(argv).text.split("\0")
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}
