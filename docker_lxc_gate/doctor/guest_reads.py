"""What the doctor asks in the container, of its systemd and of its Docker, as reads.

The answers are the guest's: they are decoded into typed values of a limited size, and no part of
one becomes part of a command outside of the container. A Docker that does not run is not asked: its
socket would start it. Sources: systemctl(1), docker-inspect(1), moby's Engine API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor.case import script, told
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import dockerd
from docker_lxc_gate.facts.dockerd import Word, read
from docker_lxc_gate.facts.failed_units import properties
from docker_lxc_gate.machines.read import Read, content_of
from docker_lxc_gate.machines.result import CommandResult

#: The program before each question to Docker, and its exit code if Docker does not run.
_IF_DOCKER_RUNS, _DOWN = "if_docker_runs", 3
_UNIT = ("LoadState", "ActiveState", "Result", "ExecStart")
_NUMBER = "[0-9]{1,10}"
#: Of a message that a guest chose, so much is looked at (characters).
_LONGEST = 2000
#: A node has no more devices of these kinds.
_MOST_DEVICES = 100
_TO_SECONDS = len("2026-11-26T21:00:00")
#: The path goes into advice for the container's configuration, so it is a name of a driver's.
_DEVICE = patterns.compile(
    rf"({_NUMBER}) ({_NUMBER}) ([0-7]{{1,6}}) "
    r"(/dev/(?:net/tun|kfd|dri/[\w-]{1,60}|nvidia[\w-]{0,60}))"
)
_RUNC = patterns.compile(r"runc version v?([0-9][\w.+~-]{0,40})")


class _Info(dockerd.Info, frozen=True, rename="pascal"):
    """Docker's own information, as far as a problem needs it. Source: ``docker info``."""

    security_options: list[Word] | None = None
    docker_root_dir: str = ""


class DockerMount(msgspec.Struct, frozen=True, rename="pascal"):
    """A volume or a bind mount of a Docker container; the source is a path in the LXC container."""

    type: Word = ""
    source: str = ""
    rw: bool = msgspec.field(default=True, name="RW")


class Device(msgspec.Struct, frozen=True):
    """A device that a Docker container is given."""

    path: str = msgspec.field(default="", name="PathOnHost")


class Container(msgspec.Struct, frozen=True, rename="pascal"):
    """One of Docker's containers, whether it runs or not."""

    name: Word = ""
    error: str = ""
    mounts: list[DockerMount] | None = None
    app_armor_profile: Word = ""
    devices: list[Device] | None = None
    privileged: bool = False
    running: bool = False
    created: Word = ""
    started_at: Word = ""


def failures(containers: Sequence[Container]) -> list[str]:
    """Return why Docker's containers did not start, without what was fixed since.

    Docker keeps an error until the container starts. If another one was started after the
    container was made, whatever hindered every container is gone. Times are UTC in one format, so
    they compare as text.
    """
    latest = max((each.started_at[:_TO_SECONDS] for each in containers if each.running), default="")
    return [
        container.error[:_LONGEST]
        for container in containers
        if container.error and not container.running and container.created[:_TO_SECONDS] >= latest
    ]


@dataclass(frozen=True)
class Unit:
    """Docker's unit, by systemd's own words; ``load`` is empty if systemd did not answer."""

    load: str
    active: str
    result: str
    command: str

    @property
    def runs(self) -> bool:
        """Whether Docker runs."""
        return self.active == "active"


@dataclass(frozen=True)
class Given:
    """A device in the container: its path, its owner there, and its permissions."""

    path: str
    user: int
    group: int
    mode: int


@dataclass(frozen=True)
class Owned:
    """A directory in the container: its owner there, and whether root there may do everything."""

    user: int
    group: int
    usable: bool


def of_docker(result: CommandResult) -> CommandResult:
    """Return Docker's answer; raises FactError if that failed, or Docker does not run."""
    if result.exit_code == _DOWN:
        raise FactError("Docker does not run in the container")
    return told(result)


def _containers(result: CommandResult) -> tuple[Container, ...]:
    lines = of_docker(result).stdout.splitlines()
    return tuple(read(line, Container, "docker inspect") for line in lines if line.strip())


def _unit(result: CommandResult) -> Unit:
    values = next(iter(properties(told(result).text)), {})
    if "LoadState" not in values:
        raise FactError(f"systemd of {result.machine} does not say whether Docker runs")
    return Unit(*(values.get(name, "")[:4000] for name in _UNIT))


def _failed(result: CommandResult) -> tuple[tuple[str, str], ...]:
    units = properties(told(result).text)
    return tuple((unit.get("Id", "?")[:200], unit.get("ExecMainStatus", "")) for unit in units)


def _sysctls(result: CommandResult) -> dict[str, str]:
    lines = (line.partition(" ") for line in told(result).text.splitlines())
    return {name.rpartition("/")[2]: value.strip()[:20] for name, _, value in lines}


def _devices(result: CommandResult) -> tuple[Given, ...]:
    matches = [_DEVICE.fullmatch(line) for line in told(result).text.splitlines()]
    return tuple(
        Given(match[4], int(match[1]), int(match[2]), int(match[3], 8))
        for match in matches[:_MOST_DEVICES]
        if match
    )


def _groups(result: CommandResult) -> dict[str, int]:
    groups = patterns.findall(rf"(?m)^(\w+):[^:\n]*:({_NUMBER}):", result.text)
    return {name: int(number) for name, number in groups}


def _owned(result: CommandResult) -> tuple[Owned | None, ...]:
    lines = result.text.splitlines()
    owners: list[Owned | None] = []
    for owner, usable in zip(lines[::2], lines[1::2], strict=False):
        ids = patterns.fullmatch(rf"({_NUMBER}) ({_NUMBER})", owner)
        owners.append(Owned(int(ids[1]), int(ids[2]), usable == "yes") if ids else None)
    return tuple(owners)


def _runc(result: CommandResult) -> str:
    match = _RUNC.match(result.text)
    if match is None:
        raise FactError(f"the version of runc in {result.machine} cannot be read")
    return match[1]


def owned(places: Sequence[str]) -> Read[tuple[Owned | None, ...]]:
    """Read who owns each of these directories in the container; None for one that is not there."""
    return Read(script("owners", *places), _owned)


UNIT = Read(("systemctl", "show", "-p", ",".join(_UNIT), "docker"), _unit)
INFO = Read(
    script("docker_info", begins=_IF_DOCKER_RUNS),
    lambda result: read(of_docker(result).stdout, _Info, "docker info"),
)
CONTAINERS = Read(script("docker_containers", begins=_IF_DOCKER_RUNS), _containers)
#: The name and the exit code of each unit of the guest that failed.
FAILED = Read(script("failed_units"), _failed)
SYSCTLS = Read(script("network_switches"), _sysctls)
DEVICES = Read(script("devices"), _devices)
#: The ids of the groups that may use graphics cards, by name; those that the guest has.
GROUPS = Read(("grep", "-E", "^(render|video):", "/etc/group"), _groups)
#: What is missing for Docker to load profiles of its own: parser, securityfs, kernel, environment.
#: A parser is also hidden where its package is installed.
OWN_APPARMOR = Read(script("own_apparmor"), lambda result: frozenset(told(result).text.split()))
#: The storage drivers that have images of their own.
WITH_IMAGES = Read(
    script("drivers_with_images", begins=_IF_DOCKER_RUNS),
    lambda result: tuple(sorted(of_docker(result).text.split()))[:8],
)
SETTINGS = content_of("/etc/docker/daemon.json")
#: The packages with runc that apt holds back. Source: dpkg-query(1).
_WITH_RUNC = ("containerd.io", "moby-runc", "runc")
HELD = Read(
    ("dpkg-query", "-W", "-f", "${db:Status-Want} ${Package}\\n", *_WITH_RUNC),
    lambda result: tuple(name for name in _WITH_RUNC if f"hold {name}" in result.text.splitlines()),
)
RUNC = Read(("runc", "--version"), _runc)
