"""Docker in a container, by its own client and its unit: what runs, on which driver, with what.

A Docker that does not run is never asked: its socket would start it. The output of the witness,
which is compared before and after, is not trusted: it is limited in size, and only names and ids of
Docker's forms are accepted. Sources: docker(1), docker-ps(1), systemctl(1),
org.freedesktop.systemd1(5), moby daemon/graphdriver and daemon/images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import failed_units
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import Read, unparsed
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport

SOCKET, NOT_FOUND = "docker.socket", "not-found"
#: The exit code of a question to Docker that was not asked, because it does not run.
NOT_RUNNING = 3
_IF_IT_RUNS = f"systemctl is-active -q docker || exit {NOT_RUNNING}; "
OPTIONS_SCRIPT = program("docker_lxc_gate.facts", "dockerd_options.sh")
_ELSEWHERE = patterns.compile(
    r"[\s\"'=](--data-root|--graph|-g|--userns-remap)(?:=|\s)\s*[\"']?([^\s\"';]+)"
)
_LIVE_RESTORE = patterns.compile(r"--live-restore(?:=[\"']?([a-zA-Z0-9]*))?(?:[\s\"';]|$)")
#: As Go reads a boolean option.
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})
#: Docker makes these itself.
_OWN_NETWORKS = frozenset({"bridge", "host", "none"})


def _if_it_runs(command: str) -> tuple[str, ...]:
    return ("sh", "-c", _IF_IT_RUNS + command)


#: Lists the names of all objects of a kind.
LISTS = {
    "container": unparsed(*_if_it_runs("docker ps -a --format '{{.Names}}'")),
    "image": unparsed(*_if_it_runs("docker images --format '{{.Repository}}:{{.Tag}}'")),
    "volume": unparsed(*_if_it_runs("docker volume ls -q")),
    "network": unparsed(*_if_it_runs("docker network ls --format '{{.Name}}'")),
}


def _options(pattern: patterns.Pattern[str], result: CommandResult) -> list[Any]:
    """Return what a pattern finds in dockerd's options."""
    lines = (line for line in result.text.splitlines() if not line.lstrip().startswith("#"))
    return [value for line in lines for value in pattern.findall(line)]


def _is_booting(result: CommandResult) -> bool:
    state, _, job = result.text.partition("\n")
    return state in {"initializing", "starting"} and patterns.match(r"Job=[1-9]", job) is not None


#: The name of the storage driver, and after a blank the directory of its data.
DRIVER_AND_ROOT = unparsed(*_if_it_runs('docker info -f "{{.Driver}} {{.DockerRootDir}}"'))
#: The ids of the containers that run, the oldest first.
RUNNING = Read(
    _if_it_runs("docker ps -q --no-trunc"), lambda result: tuple(reversed(result.text.split()))
)
_NO_TASK = '{{if not (.Label "com.docker.swarm.task.id")}}{{.ID}}{{end}}'
#: The ids of all containers but Swarm's, which it replaces; fails if Docker does not answer.
CONTAINERS = unparsed(*_if_it_runs(f"docker ps -a --no-trunc --format '{_NO_TASK}'"))
#: The names of those that run and that Docker removes when they end (``--rm``).
REMOVED_WHEN_ENDED = Read(
    _if_it_runs(
        "docker ps -q --no-trunc | "
        "xargs -r docker inspect -f '{{if .HostConfig.AutoRemove}}{{.Name}}{{end}}'"
    ),
    lambda result: sorted(result.text.split()),
)
#: What systemd says that Docker does at boot; an older systemd says nothing of no unit.
AT_BOOT = Read(
    ("systemctl", "is-enabled", "docker"), lambda result: result.text.strip() or NOT_FOUND
)
#: Whether the container is still booting, and Docker waits for its start or is in it. A Docker that
#: fails and is started again and again has no job in between.
BOOTING = Read(
    ("sh", "-c", "systemctl is-system-running; systemctl show -p Job docker"), _is_booting
)
#: The path of Docker's daemon, empty if there is none.
DAEMON = Read(("sh", "-c", "command -v dockerd"), lambda result: result.text.strip())
#: Active units that stop with Docker, and that a start, unlike a restart, leaves stopped.
NEEDING = Read(
    ("sh", "-c", program("docker_lxc_gate.facts", "units_needing_docker.sh")),
    lambda result: tuple(patterns.findall(r"(?m)^[\w:.@\\-]{1,255}$", result.text)[:100]),
)
#: Options beside daemon.json by which dockerd keeps its data elsewhere: option and value.
OPTIONS_ELSEWHERE: Read[list[tuple[str, str]]] = Read(
    ("sh", "-c", OPTIONS_SCRIPT), partial(_options, _ELSEWHERE)
)
#: Whether options beside daemon.json keep containers running while Docker is stopped.
LIVE_RESTORE = Read(
    ("sh", "-c", OPTIONS_SCRIPT),
    lambda result: not _FALSE.issuperset(_options(_LIVE_RESTORE, result)),
)


def active(unit: str) -> Read[bool]:
    """Read whether a unit is active."""
    return Read(("systemctl", "is-active", "-q", unit), lambda result: result.ok)


def is_absent(on: Transport) -> bool:
    """Whether there is no Docker; a package that was removed, not purged, leaves a masked unit."""
    unit = on.ask(AT_BOOT)
    return unit == NOT_FOUND or (unit == "masked" and not on.ask(DAEMON))


def objects(on: Transport, kinds: Sequence[str] = ("container", "image", "volume")) -> str:
    """Return Docker's containers, images, volumes or networks, each kind sorted by name.

    Docker lists images by the second they were made in, and those of one second in any order.
    """
    return ", ".join(
        f"{what} {name}"
        for what in kinds
        for name in sorted(on.ask(LISTS[what]).text.split())
        if what != "network" or name not in _OWN_NETWORKS
    )


#: The name of each unit in a report.
_UNITS = {
    "docker.service": "dockerd",
    "containerd.service": "containerd",
    "docker.socket": "docker.socket",
}
_SCRIPT = program("docker_lxc_gate.facts", "docker_witness.sh")
_ID = r"(?:sha256:)?[0-9a-f]{12,64}"
_NAME = r"[\w./:<>@,+-]{1,512}"
#: The form of each kind's lines: ``key`` names the fact, ``value`` is its value.
_LINES = {
    "container": patterns.compile(rf"(?P<value>{_ID}) (?P<key>{_NAME})"),
    "image": patterns.compile(rf"(?P<key>{_ID}) (?P<value>{_NAME})"),
    "volume": patterns.compile(rf"(?P<key>{_NAME}) (?P<value>{_NAME})"),
    "network": patterns.compile(rf"(?P<value>{_ID}) (?P<key>{_NAME})"),
    "state": patterns.compile(rf"/?(?P<key>{_NAME}) (?P<value>[\w :.+-]{{1,120}})"),
    "settings": patterns.compile(rf"/?(?P<key>{_NAME}) (?P<value>[0-9a-f]{{16}})"),
}
_TIMEOUT = 360.0


def record(inside: Transport) -> dict[str, str]:
    """Return Docker's containers, images, volumes and networks, and its processes.

    These are ``docker KIND NAME`` with ids, or with a hash of its settings; ``process NAME`` with
    pid, start (microseconds since the node's boot) and state, or with the start time of a Docker
    container. Raises FactError if Docker runs, but a listing failed or cannot be read.
    """
    answer = inside.look(["sh", "-c", _SCRIPT, "docker-witness"], timeout=_TIMEOUT).require()
    parts = dict(part.partition("\n")[::2] for part in ("\n" + answer.text).split("\n== ")[1:])
    facts: dict[str, str] = {}
    for kind, text in parts.items():
        listed, _, code = text.strip("\n").rpartition("ended with ")
        if code != "0" or kind not in {"unit", *_LINES}:
            raise FactError(
                f"listing Docker's objects in {inside.machine} failed ({kind[:40]!r}): it "
                f"ended with {code[:20] or 'too much output'}: {answer.stderr[-300:]!r}"
            )
        if kind == "unit":
            facts |= _units(listed)
        else:
            facts |= _objects(inside, kind, listed)
    return facts


def _units(text: str) -> dict[str, str]:
    facts = {}
    for unit in failed_units.properties(text):
        if name := _UNITS.get(unit.pop("Id", "")):
            facts[f"process {name}"] = " ".join(f"{key}={unit[key]}" for key in sorted(unit))[:200]
    return facts


def _objects(inside: Transport, kind: str, text: str) -> dict[str, str]:
    """Return one fact a name; objects with the same name share a fact."""
    facts: dict[str, set[str]] = {}
    for line in text.splitlines():
        if (match := _LINES[kind].fullmatch(line)) is None:
            where = f"Docker in {inside.machine}"
            raise FactError(f"{where} lists a {kind} in an unknown form: {line!r:.200}")
        key = ",".join(sorted(match["key"].split(",")))  # a linked container's names
        name = f"process of docker container {key}" if kind == "state" else f"docker {kind} {key}"
        facts.setdefault(name, set()).add(match["value"])
    return {key: ", ".join(sorted(values)) for key, values in facts.items()}
