"""Docker in the container: that it runs, and its driver.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import dockerd, next_boot
from docker_lxc_gate.machines.read import unparsed
from docker_lxc_gate.tables import table
from docker_lxc_gate.verdict import evidence

if TYPE_CHECKING:
    from testinfra.host import Host

    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport
    from remediation.plan_file import PlanFile

#: The driver of the plan.
_REQUIRED = "fuse-overlayfs"
#: The driver of containerd's image store, as Docker names it.
_CONTAINERDS = "overlayfs"
#: A Docker command under emulation (seconds).
PATIENCE = 180.0
NO_DOCKER = (
    "Docker is not installed in the container (docker-lxc-gate apply, with the same "
    "--target, installs it)"
)
#: Docker's messages and their causes. The first match wins.
CAUSES = (
    *table("steps", "causes", dict[str, tuple[tuple[str, str], ...]])["causes"],
    (r"failed to run command \W?docker\W", NO_DOCKER),  # timeout(1), which runs each command
)
_HELP = patterns.compile(r"(See|Run) 'docker .{0,40}--help'")
#: The end of what Docker says about iptables, whose message ends with its line.
_TAIL = tuple(f"(exit status {code}))" for code in range(1, 5))


def known_cause(text: str) -> str:
    """Return the cause of a message of Docker that ``CAUSES`` has, or nothing."""
    found = (meaning for pattern, meaning in CAUSES if patterns.search(f"(?is){pattern}", text))
    return next(found, "")


def cause(text: str) -> str:
    """Return the cause of Docker's message, or the message's last line."""
    if meaning := known_cause(text):
        return meaning
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not _HELP.search(line) and line not in _TAIL]
    return lines[-1] if lines else "Docker printed nothing"


def output(result: CommandResult) -> str:
    """Return a command's whole output, standard error last: its last line is the cause."""
    return b"\n".join((result.stdout, result.stderr)).decode(errors="replace")


@dataclass(frozen=True)
class DockerRun:
    """One ``docker run``: the container's name, the command's result, and why no pull worked."""

    name: str
    result: CommandResult
    obstacle: str = ""


def run_docker(container: Transport, *words: str) -> CommandResult:
    """Run Docker's own program in the container, for at most ``PATIENCE``."""
    return container.run(["docker", *words], timeout=PATIENCE)


@then("Docker is running and starts at boot")
def docker_runs(container: Transport, host: Host) -> None:
    """Ask systemd what the boot does: "enabled" is a setting, and says little."""
    runs = host.service("docker").is_running
    assert runs or host.exists("dockerd"), NO_DOCKER
    assert runs, f"Docker is not running in the container: {_why_down(host)}"
    obstacle = next_boot.obstacle(container, next_boot.DOCKER)
    assert not obstacle, f"Docker runs, but the next boot does not start it: {obstacle}"


@evidence.explanation
def _why_down(host: Host) -> str:
    """Return dockerd's last error before it ended, or that nothing started it."""
    if host.run("systemctl show docker -p LoadState --value").stdout.strip() == "masked":
        return "it is masked (systemctl unmask docker)"
    log = host.run("journalctl -t dockerd -b -n 60 -q --no-pager -o cat").stdout
    # The others are its log, as text or as JSON, also of what did not end it.
    plain = [line for line in log.splitlines() if line and not line.startswith(("time=", "{"))]
    words = [line for line in plain if patterns.match(r"(unable to|failed to) ", line)] or plain
    at_boot = host.run("systemctl is-enabled docker.service").stdout.strip()
    never = "no boot starts it: it is disabled (systemctl enable --now docker)"
    silent = never if at_boot == "disabled" else "journalctl -u docker"
    return words[-1] if words else silent


_INFO = unparsed("docker", "info", "-f", "{{json .}}", timeout=PATIENCE)


@then("Docker's driver is one of those that do not copy layers")
def driver_does_not_copy(
    container: Transport, runtime: Runtime, ctid: int, wanted: PlanFile
) -> None:
    """The plan names them; with containerd's image store it is the snapshotter's name."""
    _require_driver(container, runtime, ctid, wanted.drivers)


@then(parsers.parse('Docker\'s storage driver is "{driver}"'))
def storage_driver_is(container: Transport, runtime: Runtime, ctid: int, driver: str) -> None:
    """The name alone proves little: the driver's own check only looks for the program."""
    _require_driver(container, runtime, ctid, (driver,))


def _require_driver(
    container: Transport, runtime: Runtime, ctid: int, drivers: tuple[str, ...]
) -> None:
    """Query dockerd from the node; ``docker info`` in the container must say the same."""
    wanted = " or ".join(map(repr, drivers))
    told = _told(container)
    daemon = dockerd.find(runtime, ctid)
    assert daemon is not None, (
        f"docker info names the driver {told.driver!r}, but no dockerd runs in the container: "
        "another daemon answers, or docker is another program (command -v docker; docker "
        "context show)"
    )
    engine = daemon.info()
    assert not engine.snapshotter or _CONTAINERDS in drivers, (
        f"Docker uses the containerd image store ({engine.snapshotter!r}), not the graph driver "
        f"{' or '.join(drivers)}"
    )
    assert engine.driver in drivers, (
        f"Docker's storage driver is {engine.driver!r}, not {wanted}{_otherwise(engine, told)}"
    )
    assert (different := _otherwise(engine, told)) == "", (
        f"Docker's storage driver is {engine.driver!r}{different}"
    )
    changed = next_boot.difference(container, daemon)
    assert not changed, (
        f"docker.service was changed since Docker was started: {changed}. The next boot starts "
        "another dockerd than the one that runs: systemctl daemon-reload, restart docker, then run "
        "the gate again"
    )
    evidence.say(
        f"dockerd, queried from the node: {engine.driver}, Docker {engine.server_version}; docker "
        "info says the same"
    )


def _told(container: Transport) -> dockerd.Info:
    """Return what ``docker info`` says: a look, since the step before found Docker running."""
    answer = container.ask(_INFO)
    told = dockerd.read(answer.stdout.strip() or b"{}", dockerd.Info, "docker info's answer")
    assert told.driver, f"Docker does not answer: {cause(output(answer))}"
    return told


def _otherwise(engine: dockerd.Info, told: dockerd.Info) -> str:
    """Return how ``docker info`` differs from dockerd's own answer; empty if it does not."""
    facts = {
        "driver": (told.driver, engine.driver),
        "version": (told.server_version, engine.server_version),
        "engine id": (told.id, engine.id),
    }
    different = [
        f"{name} {one!r}, not {other!r}" for name, (one, other) in facts.items() if one != other
    ]
    if not different:
        return ""
    return (
        f"; but docker info in the container says {', '.join(different)}: docker there queries "
        "another daemon, or is another program (command -v docker; docker context show; "
        "DOCKER_HOST)"
    )


def other_driver(runtime: Runtime, ctid: int, drivers: tuple[str, ...] = (_REQUIRED,)) -> str:
    """Return a cause if Docker's driver is none of these; else empty."""
    try:
        daemon = dockerd.find(runtime, ctid)
        driver = daemon.info().driver if daemon else ""
    except RemediationError:  # the verdict is red already; this only explains it
        return ""
    if driver in {"", *drivers}:
        return ""
    return f"Docker's storage driver is {driver!r}, not {' or '.join(map(repr, drivers))}: "
