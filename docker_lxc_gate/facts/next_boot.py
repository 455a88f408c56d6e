"""What the next boot of a machine does with a service, as its systemd says.

"Enabled" is a setting. Whether a boot starts a service depends on more: the default target, masks,
and conditions. What it starts depends on the unit and its environment now, not at the last start.
Sources: systemd-analyze(1) (condition), systemctl(1) (list-dependencies), systemd.exec(5)
(EnvironmentFile), systemd.service(5) (command lines).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.machines.transport import Transport

if TYPE_CHECKING:
    from docker_lxc_gate.facts.dockerd import Daemon

DOCKER, _CONTAINERD = "docker.service", "containerd.service"
#: Prints failed conditions, whether the default target leads to a service, and how each unit that
#: the service needs was loaded. systemd before 250 evaluates no unit's conditions.
_NEXT = """
systemd-analyze condition --unit="$1" 2>&1 | grep ' failed\\.$'
target=$(systemctl get-default) || exit
systemctl list-dependencies --plain --full -- "$target" | tr -d ' ' | grep -qxF -- "$1" ||
    echo "$target does not start it"
needs=$(systemctl show "$@" -p Requires -p Requisite -p BindsTo --value)
systemctl show -p Id -p LoadState -- $needs "$@"
"""
_LOADED = patterns.compile(r"Id=(\S+)\nLoadState=(masked|not-found)")
_FAILED = patterns.compile(r"(?m)^\S+: (\S+) failed\.$")
#: The command line that systemd would start, with variables unexpanded.
_WOULD_START = patterns.compile(r"(?m)^\{ path=(\S*/dockerd) ; argv\[\]=(.*?) ; ")
_UNIT = ("ExecStart", "NeedDaemonReload", "Environment", "EnvironmentFiles")
_ASSIGNMENT = patterns.compile(r"(?m)^\s*([A-Za-z_][A-Za-z0-9_]{0,99})[ \t]*=[ \t]*(.*?)\s*$")
_VARIABLE = patterns.compile(r"\$(?:\{(\w+)\}|(\w+))")


@foreign.parser(..., DOCKER)
def obstacle(on: Transport, service: str) -> str:
    """Return why a machine's next boot does not start a service; empty if it does.

    Docker needs containerd if its command line names that one's socket; else it starts its own.
    Raises CommandFailed if systemd does not answer.
    """
    needs = (service, _CONTAINERD) if _names_containerd(on, service) else (service,)
    said = on.look(["sh", "-c", _NEXT, "next-boot", *needs], timeout=120).require().text
    if failed := _FAILED.search(said):
        return f"{failed[1]} of {service} fails now"
    if found := patterns.search(r"(?m)^(\S+) does not start it$", said):
        return f"the default target is {found[1]}, which does not start {service}"
    if lacking := _LOADED.search(said):
        return f"{service} needs {lacking[1]}, which is {lacking[2]}"
    return ""


def _names_containerd(on: Transport, service: str) -> bool:
    return service == DOCKER and "--containerd" in _unit(on)["ExecStart"]


def _unit(container: Transport) -> dict[str, str]:
    """Return what systemd would start, by the names of ``_UNIT``."""
    argv = ["systemctl", "show", "docker", *(f"-p{name}" for name in _UNIT)]
    said = container.look(argv).text
    return {name: "\n".join(patterns.findall(rf"(?m)^{name}=(.*)$", said)) for name in _UNIT}


def difference(container: Transport, daemon: Daemon) -> str:
    """Return how what the next boot starts differs from the running dockerd; empty if it does not.

    A value of the environment is not told: it may be a secret. Another program may start dockerd:
    then nothing is known, and nothing differs.
    """
    unit = _unit(container)
    if unit["NeedDaemonReload"] == "yes":
        return "systemd has not read its changed files yet"
    found = _WOULD_START.search(unit["ExecStart"])
    if found is None:
        return ""
    environment = _environment(container, unit)
    would = _expanded(found[2], environment)
    runs = " ".join(daemon.argv).split()
    if would != runs:
        return f"it says '{' '.join(would)[:200]}', but '{' '.join(runs)[:200]}' runs"
    has = _running(daemon, tuple(environment))
    changed = sorted(name for name, value in environment.items() if has.get(name) != value)
    return f"the running dockerd lacks its {', '.join(changed[:4])}" if changed else ""


def _environment(container: Transport, unit: dict[str, str]) -> dict[str, str]:
    """Return the variables that the unit and its files set; the last one of a name counts."""
    variables = assignments("\n".join(_words(unit["Environment"])))
    for file in unit["EnvironmentFiles"].splitlines():
        content = container.read(file.partition(" (ignore_errors=")[0])
        variables |= assignments((content or b"").decode(errors="replace"))
    return variables


@foreign.parser()
def assignments(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    found = _ASSIGNMENT.findall(text.replace("\\\n", ""))
    return {name: " ".join(_words(v)) if v[:1] in {'"', "'"} else v for name, v in found}


def _words(text: str) -> list[str]:
    """Split as systemd does; what has no closing quote is one word."""
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _expanded(line: str, environment: dict[str, str]) -> list[str]:
    """Return the words of a command line, with its variables expanded as systemd does."""

    def value(name: patterns.Match[str]) -> str:
        return environment.get(name[1] or name[2], "")

    return _VARIABLE.sub(value, line).replace("$$", "$").split()


def _running(daemon: Daemon, names: tuple[str, ...]) -> dict[str, str]:
    """Return those variables of the running dockerd, read from the node; no other is looked at."""
    if not names:
        return {}
    wanted = "|".join(map(patterns.escape, names))
    argv = ["grep", "-azE", f"^({wanted})=", f"/proc/{daemon.pid}/environ"]
    entries = daemon.runtime.node.look(argv).text.split("\0")
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}
