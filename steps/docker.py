"""Docker in the container: its driver, its mounts, and hello-world with two witnesses.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, then, when

from gate import evidence
from lab import hello  # needs none of the lab's libraries
from remediation import docker_in_lxc
from remediation.errors import FactError, TransportError
from steps.witness import foresee

if TYPE_CHECKING:
    from testinfra.host import Host

    from remediation.runtime import Runtime
    from remediation.target import Target
    from remediation.transport import CommandResult, Transport

#: Ours: two layers, and a program that can wait. Docker Hub's hello-world has one, and cannot.
PROBE = "docker-lxc-gate/probe:latest"
#: A Docker command under emulation (seconds).
PATIENCE = 180.0
NO_DOCKER = (
    "Docker is not installed in the container (python -m remediation apply, with the same "
    "--target, installs it)"
)
#: What Docker says, and what is behind it. First match wins; from trackers and sources.
CAUSES = (
    (
        r"ip_unprivileged_port_start.*permission denied|reopen fd [0-9]+: permission denied",
        (
            "runc 1.2.8/1.3.3 and later re-open /proc files by descriptor, and the profile "
            "refuses that without a record (the quiet denies of abstractions/lxc/container-base)"
        ),
    ),
    (
        r"fuse: device not found|/dev/fuse.*(No such file|not permitted|Permission denied)",
        "the container has no usable /dev/fuse (features: fuse=1, and a restart)",
    ),
    (
        r"create keyring.*(not permitted|not implemented)",
        "keyctl is off for this container (features: keyctl=1, and a restart)",
    ),
    (
        r'error mounting "proc".*(permission denied|not permitted)',
        "nested mounts are refused (features: nesting=1, or the profile's mount rules)",
    ),
    (
        r"fuse-overlayfs\W+executable file not found|executable file not found.*fuse-overlayfs",
        "fuse-overlayfs is not installed, or not executable",
    ),
    (
        # Without a mount of its own, runc looks for the one above, which is the guest's root.
        r'exec: "/hello": stat /hello: no such file|error preparing rootfs: remount-private /,',
        (
            "the root of the Docker container is empty: /usr/bin/fuse-overlayfs mounted nothing, "
            "and may not be what its package brought (dpkg -V fuse-overlayfs)"
        ),
    ),
    (r"mount program.*fuse-overlayfs|fuse-overlayfs: cannot mount", "fuse-overlayfs cannot mount"),
    (r"Transport endpoint is not connected", "the fuse-overlayfs process behind a mount died"),
    (r"Cannot connect to the Docker daemon", "Docker is not running in the container"),
    (r"failed to run command \W?docker\W", NO_DOCKER),  # timeout(1), which each command ends by
)
#: Not the platform's fault: the map of a container has so many ids, and the image has others.
_OTHER_IDS = re.compile(r"failed to Lchown.*invalid argument", re.IGNORECASE)
_REFUSED = re.compile(r"permission denied|operation not permitted", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"toomanyrequests|no such host|i/o timeout|tcp .*connection refused|TLS handshake timeout"
    r"|x509: |unexpected EOF|context deadline exceeded|request canceled|status: 50[0-9]"
    r"|network is unreachable|Temporary failure in name resolution",
    re.IGNORECASE,
)


def cause(text: str) -> str:
    """Return the cause behind what Docker said, or the last line of it."""
    for pattern, meaning in CAUSES:
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
            return meaning
    lines = [line for line in text.splitlines() if line.strip() and "See 'docker" not in line]
    return lines[-1].strip() if lines else "Docker said nothing"


def said(result: CommandResult) -> str:
    """Return all that a command said, errors first."""
    return (result.stderr + result.stdout).decode(errors="replace")


def _docker(container: Transport, *words: str) -> CommandResult:
    return container.run(["docker", *words], timeout=PATIENCE)


@then("Docker is running and starts at boot")
def docker_runs(container_host: Host) -> None:
    """By systemd."""
    active, enabled = "systemctl is-active docker", "systemctl is-enabled docker.service"
    foresee(container_host, "test -d /run/systemd/system/", active, enabled)
    runs = container_host.service("docker").is_running
    assert runs or container_host.exists("dockerd"), NO_DOCKER
    assert runs, f"Docker is not running in the container: {_why_down(container_host)}"
    at_boot = container_host.run(enabled).stdout.strip()
    assert at_boot == "enabled", (
        f"Docker runs, but does not start at boot ({at_boot}): systemctl enable docker"
    )


@evidence.explanation
def _why_down(host: Host) -> str:
    """Return dockerd's own last words, which it writes before it ends."""
    if host.run("systemctl show docker -p LoadState --value").stdout.strip() == "masked":
        return "it is masked (systemctl unmask docker)"
    log = host.run("journalctl -u docker -b -n 60 -q --no-pager -o cat").stdout
    words = [line for line in log.splitlines() if re.match(r"(unable to|failed to) ", line)]
    return words[-1] if words else "journalctl -u docker"


@then(parsers.parse('Docker\'s storage driver is "{driver}"'))
def storage_driver_is(container: Transport, driver: str) -> None:
    """The name alone proves little: the driver's start-up check is that the program exists."""
    info = _docker(container, "info", "-f", "{{json .}}")
    answer = json.loads(info.stdout or b"{}")
    assert answer.get("Driver"), f"Docker does not answer: {cause(said(info))}"
    status = dict(answer.get("DriverStatus") or [])
    snapshotter = status.get("driver-type", "")
    assert "snapshotter" not in snapshotter, (
        f"Docker uses the containerd image store ({snapshotter}), not the graph driver {driver}"
    )
    assert answer.get("Driver") == driver, (
        f"Docker's storage driver is {answer.get('Driver')!r}, not {driver!r}"
    )
    evidence.say(f"docker info: {answer['Driver']}, Docker {answer.get('ServerVersion')}")


@pytest.fixture(scope="session")
def image(target: Target) -> str:
    """The hello-world that is pulled and run."""
    return target.reference


@given("an image of two layers is loaded into Docker", target_fixture="loaded")
def image_is_loaded(container: Transport, request: pytest.FixtureRequest) -> CommandResult:
    """One layer needs no overlay: its mount would prove nothing. No registry is asked."""
    machine = container.run(["uname", "-m"]).require().text.strip()
    if machine != hello.MACHINE:
        raise FactError(
            f"{container.machine} is {machine}: the program in our image is for {hello.MACHINE}, "
            "so no Docker container can be kept running to look at its mount"
        )
    if not _docker(container, "image", "inspect", PROBE).ok:
        request.addfinalizer(lambda: _docker(container, "image", "rm", "-f", PROBE))
    archive = hello.docker_archive(PROBE)
    return container.run(["docker", "load", "-q"], stdin=archive, timeout=PATIENCE)


def _pull(container: Transport, image: str) -> CommandResult:
    """Pull; a registry that cannot be reached says nothing about the container."""
    since = container.run(["date", "+%s"]).require().text.strip()
    pulled = _docker(container, "pull", image)
    if pulled.ok:
        return pulled
    # A layer that it cannot unpack lets dockerd try the next registry, whose error it tells then.
    journal = ["journalctl", "-u", "docker", "--since", f"@{since}", "-q", "--no-pager"]
    log = container.run([*journal, "-o", "cat"])
    if found := _OTHER_IDS.search(f"{said(pulled)}\n{log.text}"):
        raise FactError(
            f"{image} holds files of ids that the container's map does not have, which is the "
            "image's and no failure of the platform: build it with ids below 65536, or give the "
            f"container more subordinate ids. Docker said: {found[0]}"
        )
    if _UNREACHABLE.search(said(pulled)) and not _REFUSED.search(log.text):
        raise TransportError(f"the registry did not serve {image}: {cause(said(pulled))}")
    return pulled


@dataclass(frozen=True)
class DockerRun:
    """One ``docker run``: its name, and what the command line said."""

    name: str
    result: CommandResult


@when("a Docker container is running", target_fixture="docker_run")
def docker_container_runs(
    container: Transport, loaded: CommandResult, request: pytest.FixtureRequest
) -> DockerRun:
    """Start one that waits, and remove it in the end; an image that cannot be loaded cannot run."""
    name = f"gate-{secrets.token_hex(4)}"
    if not loaded.ok:
        return DockerRun(name, loaded)
    request.addfinalizer(lambda: _docker(container, "rm", "-f", name))
    return DockerRun(name, _docker(container, "run", "-d", "--name", name, PROBE, "/hello", "wait"))


@then("its root is mounted by fuse-overlayfs, as the node sees it, too")
def root_is_fuse(container: Transport, runtime: Runtime, ctid: int, docker_run: DockerRun) -> None:
    """Docker names the directory; the kernel's mount table, read from the node, says by whom."""
    assert docker_run.result.ok, (
        f"no container can be started: {cause(said(docker_run.result))}"
        f"{_elsewhere(runtime.node, container)}"
    )
    shown = _docker(container, "inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", docker_run.name)
    merged = shown.require().text.strip()
    pid = runtime.init_pid(ctid)
    table = (runtime.node.read(f"/proc/{pid}/mounts") or b"").decode(errors="replace")
    mounts = [line.split() for line in table.splitlines()]
    found = [(source, kind) for source, where, kind, *_ in mounts if where == merged]
    assert found, f"nothing is mounted at {merged} while a Docker container runs"
    source, kind = found[-1]
    # C version, Rust rewrite: the second shows up as plain fuse with the program as source.
    assert kind == "fuse.fuse-overlayfs" or (kind, source) == ("fuse", "fuse-overlayfs"), (
        f"{merged} is mounted by {kind} ({source}), not by fuse-overlayfs"
    )
    evidence.say(f"{kind} at {merged[:44]}…")


@evidence.explanation
def _elsewhere(node: Transport, container: Transport) -> str:
    """Return what the profile lacks where Docker keeps its data at another place."""
    root = _docker(container, "info", "-f", "{{.DockerRootDir}}").text.strip()
    lacks = docker_in_lxc.profile_elsewhere(node, root) if root else ""
    return f"; {lacks}" if lacks else ""


@then("a file of its image can be read through the mount")
def mount_serves(container: Transport, docker_run: DockerRun) -> None:
    """A mount whose process died is still in the table, and serves nothing."""
    shown = _docker(container, "inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", docker_run.name)
    merged = shown.require().text.strip()
    listing = container.run(["ls", "-A", merged])
    assert listing.ok, f"the mount serves nothing: {cause(said(listing))}"
    assert listing.text.split(), f"{merged} is empty: the fuse-overlayfs process behind it ended"


@given("hello-world is not in the container")
def image_is_absent(container: Transport, image: str) -> None:
    """So that it must be pulled."""
    _docker(container, "image", "rm", "-f", image)
    if _docker(container, "image", "inspect", image).ok:
        raise FactError(f"{image} cannot be removed: something uses it (docker ps -a)")


@when("hello-world is run", target_fixture="docker_run")
def hello_world_runs(container: Transport, image: str, request: pytest.FixtureRequest) -> DockerRun:
    """As the plan says, but named and kept, so that Docker's own record can be asked."""
    _pull(container, image)
    name = f"gate-{secrets.token_hex(4)}"
    request.addfinalizer(lambda: _docker(container, "rm", "-f", name))
    return DockerRun(name, _docker(container, "run", "--name", name, image))


@then("it greets and exits with 0")
def it_greets(container: Transport, docker_run: DockerRun, image: str) -> None:
    """What a user sees."""
    result = docker_run.result
    assert result.ok, (
        f"{image} ended with {result.exit_code}: {cause(said(result))}{_runc(container, result)}"
    )
    assert "Hello from Docker!" in result.text, f"{image} did not greet: {result.text[:200]!r}"
    evidence.say(f"exit 0, greeted, in {result.seconds:.1f} s")


@evidence.explanation
def _runc(container: Transport, result: CommandResult) -> str:
    """Return runc's version where that is one half of a known pair."""
    if cause(said(result)) != CAUSES[0][1]:
        return ""
    return f"; it has {container.run(['runc', '--version']).text.partition(chr(10))[0]}"


@then("Docker's own record, asked from the node, says the same")
def record_says_the_same(runtime: Runtime, ctid: int, docker_run: DockerRun) -> None:
    """Dockerd's socket, through the node: a witness without any program of the container."""
    record = _api(runtime, ctid, f"/containers/{docker_run.name}/json")
    assert record.get("Id"), f"dockerd knows of no such run: {record.get('message')}"
    state = record["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0), (
        f"dockerd recorded {state['Status']}, exit code {state['ExitCode']}: {state.get('Error')}"
    )


@then("the image that ran came from the registry")
def image_is_genuine(runtime: Runtime, ctid: int, docker_run: DockerRun, image: str) -> None:
    """Another image under the same name has no digest of the registry's."""
    record = _api(runtime, ctid, f"/containers/{docker_run.name}/json")
    ran = _api(runtime, ctid, f"/images/{record.get('Image')}/json")
    digests = [d for d in ran.get("RepoDigests") or [] if _repository(d) == _repository(image)]
    assert digests, (
        f"the image that ran ({record.get('Image')}) was never pulled as {image}: it is another "
        "image under that name"
    )
    evidence.say(digests[0][:40])


def _repository(name: str) -> str:
    """Return an image's name without tag and digest, as Docker shortens those of Docker Hub."""
    bare = re.sub(r"(:[^:/]+)?(@.*)?$", "", name)
    return bare.removeprefix("docker.io/").removeprefix("library/")


def _api(runtime: Runtime, ctid: int, path: str) -> dict[str, Any]:
    """Ask dockerd over its socket, reached through the container's root as the node sees it."""
    socket = f"/proc/{runtime.init_pid(ctid)}/root/run/docker.sock"
    argv = ["curl", "-sS", "--max-time", "60", "--unix-socket", socket, f"http://docker{path}"]
    answer = runtime.node.run(argv)
    if not answer.ok:
        raise FactError(f"dockerd's socket cannot be asked: {answer.stderr.decode().strip()}")
    try:
        value: dict[str, Any] = json.loads(answer.stdout)
    except json.JSONDecodeError as error:
        raise FactError(f"dockerd's answer is no JSON: {answer.text[:200]!r}") from error
    return value
