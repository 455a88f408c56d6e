"""Docker in the container: its driver, its mounts, and hello-world with two witnesses.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, parsers, then, when

from facts import dockerd
from gate import evidence
from lab import hello  # needs none of the lab's libraries
from remediation.data_root import profile_elsewhere
from steps.witness import foresee
from targets.errors import FactError, RemediationError, TransportError

if TYPE_CHECKING:
    from testinfra.host import Host

    from targets.runtime.base import Runtime
    from targets.target import Target
    from targets.transport import CommandResult, Transport

#: Ours: two layers, and a program that can wait. Docker Hub's hello-world has one, and cannot.
PROBE = "docker-lxc-gate/probe:latest"
#: The driver of the plan.
_REQUIRED = "fuse-overlayfs"
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
def storage_driver_is(container: Transport, runtime: Runtime, ctid: int, driver: str) -> None:
    """By dockerd itself, asked from the node; what ``docker`` says inside has to be the same.

    The name alone proves little: the driver's start-up check is that the program exists.
    """
    answer = _docker(container, "info", "-f", "{{json .}}")
    told = dockerd.read(answer.stdout.strip() or b"{}", dockerd.Info, "docker info's answer")
    assert told.driver, f"Docker does not answer: {cause(said(answer))}"
    daemon = dockerd.find(runtime, ctid)
    assert daemon is not None, (
        f"docker info names the driver {told.driver!r}, and no dockerd runs in the container: "
        "another daemon answers it, or docker is another program (command -v docker; docker "
        "context show)"
    )
    engine = daemon.info()
    assert not engine.snapshotter, (
        f"Docker uses the containerd image store ({engine.snapshotter!r}), not the graph driver "
        f"{driver}"
    )
    assert engine.driver == driver, (
        f"Docker's storage driver is {engine.driver!r}, not {driver!r}{_otherwise(engine, told)}"
    )
    assert (different := _otherwise(engine, told)) == "", (
        f"Docker's storage driver is {engine.driver!r}{different}"
    )
    changed = _changed_since(container, daemon)
    assert not changed, (
        f"docker.service was changed since Docker was started: {changed}. What starts at the next "
        "boot is not what runs: systemctl daemon-reload, then restart docker, and ask again"
    )
    evidence.say(
        f"dockerd, asked from the node: {engine.driver}, Docker {engine.server_version}; docker "
        "info says the same"
    )


#: What systemd would start: the words as they are written, variables among them.
_WOULD_START = re.compile(r"^ExecStart=\{ path=(\S*/dockerd) ; argv\[\]=(.*?) ; ", re.MULTILINE)


def _changed_since(container: Transport, daemon: dockerd.Daemon) -> str:
    """Return how docker.service differs from the dockerd that runs; empty: it does not.

    What a variable stands for is not known here, and another program may start dockerd.
    """
    show = ["systemctl", "show", "docker", "-p", "ExecStart", "-p", "NeedDaemonReload"]
    told = container.run(show).text
    if "NeedDaemonReload=yes" in told.splitlines():
        return "its files are newer than what systemd has read of them"
    if (found := _WOULD_START.search(told)) is None:
        return ""
    words, runs = found[2].split(), iter(" ".join(daemon.argv).split())
    there = all(word in runs for word in words if "$" not in word)
    if there and ("$" in found[2] or next(runs, None) is None):
        return ""
    return f"it says '{found[2][:200]}', and '{' '.join(daemon.argv)[:200]}' runs"


def _otherwise(engine: dockerd.Info, told: dockerd.Info) -> str:
    """Return in which way ``docker info`` differs from what dockerd says of itself, empty: none."""
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
        f"; but docker info in the container says {', '.join(different)}: docker there asks "
        "another daemon, or is another program (command -v docker; docker context show; "
        "DOCKER_HOST)"
    )


def _other_driver(runtime: Runtime, ctid: int) -> str:
    """Return that Docker's driver is another one, which then is the cause; empty: it is not."""
    try:
        daemon = dockerd.find(runtime, ctid)
        driver = daemon.info().driver if daemon else ""
    except RemediationError:  # it only explains what is red already
        return ""
    if driver in {"", _REQUIRED}:
        return ""
    return f"Docker's storage driver is {driver!r}, not {_REQUIRED!r}: "


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
        f"{_other_driver(runtime, ctid)}no container can be started: "
        f"{cause(said(docker_run.result))}{_elsewhere(runtime.node, container)}"
    )
    merged = _merged(container, docker_run)
    assert merged, (
        f"{_other_driver(runtime, ctid)}Docker names no directory at which the container's root is "
        "mounted"
    )
    pid = runtime.init_pid(ctid)
    found = _mounted(runtime.node.read(f"/proc/{pid}/mounts") or b"", merged)
    assert found, (
        f"{_other_driver(runtime, ctid)}nothing is mounted at {merged} while a Docker container "
        "runs"
    )
    source, kind = found[-1]
    # C version, Rust rewrite: the second shows up as plain fuse with the program as source.
    assert kind == "fuse.fuse-overlayfs" or (kind, source) == ("fuse", "fuse-overlayfs"), (
        f"{_other_driver(runtime, ctid)}{merged} is mounted by {kind} ({source}), not by "
        "fuse-overlayfs"
    )
    evidence.say(f"{kind} at {merged[:44]}…")


@evidence.explanation
def _elsewhere(node: Transport, container: Transport) -> str:
    """Return what the profile lacks where Docker keeps its data at another place."""
    root = _docker(container, "info", "-f", "{{.DockerRootDir}}").text.strip()
    lacks = profile_elsewhere(node, root) if root else ""
    return f"; {lacks}" if lacks else ""


#: Docker's word for where a container's root is mounted; a driver without a mount has none.
_PLACE = re.compile(r"/[\w./-]{1,4000}", re.ASCII)


def _merged(container: Transport, docker_run: DockerRun) -> str:
    """Return where a Docker container's root is mounted; empty if Docker names no such place."""
    shown = _docker(container, "inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", docker_run.name)
    place = shown.require().text.strip()
    return place if _PLACE.fullmatch(place) else ""


def _mounted(table: bytes, place: str) -> list[tuple[str, str]]:
    """Return source and type of each mount at a place, by the kernel's table of mounts.

    The kernel escapes blank, tab and line feed in what the guest has named, and nothing else that
    Python takes for the end of a word or of a line.
    """
    mounts = [line.decode(errors="replace").split(" ") for line in table.split(b"\n") if line]
    return [(source, kind) for source, where, kind, *_ in mounts if where == place]


@then("a file of its image can be read through the mount")
def mount_serves(container: Transport, docker_run: DockerRun) -> None:
    """A mount whose process died is still in the table, and serves nothing."""
    merged = _merged(container, docker_run)
    assert merged, "Docker names no directory at which the container's root is mounted"
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
def it_greets(
    container: Transport, runtime: Runtime, ctid: int, docker_run: DockerRun, image: str
) -> None:
    """What a user sees."""
    result = docker_run.result
    assert result.ok, (
        f"{_other_driver(runtime, ctid)}{image} ended with {result.exit_code}: "
        f"{cause(said(result))}{_runc(container, result)}"
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
    state = _record(runtime, ctid, docker_run)[1].state
    assert (state.status, state.exit_code) == ("exited", 0), (
        f"dockerd recorded {state.status!r}, exit code {state.exit_code}: {state.error[:300]!r}"
    )


def _record(
    runtime: Runtime, ctid: int, docker_run: DockerRun
) -> tuple[dockerd.Daemon, dockerd.Record]:
    """Return the daemon, and what it recorded of a run."""
    daemon = dockerd.find(runtime, ctid)
    assert daemon is not None, "no dockerd runs in the container: nothing has run anything"
    record = daemon.record(docker_run.name)
    assert record is not None, (
        f"dockerd knows of no such run (no container {docker_run.name}): another daemon ran it, or "
        "docker is another program"
    )
    return daemon, record


@then("the image that ran came from the registry")
def image_is_genuine(
    runtime: Runtime, ctid: int, docker_run: DockerRun, image: str, target: Target
) -> None:
    """Another image under the same name has no digest of the registry's, or another one.

    Which one it has to be the target may say; of the lab's own image it is known.
    """
    daemon, record = _record(runtime, ctid, docker_run)
    found = daemon.image(record.image)
    every = (found.repo_digests if found else None) or []
    ours = (each for each in every if _DIGEST.fullmatch(each))
    digests = [each for each in ours if _repository(each) == _repository(image)]
    assert digests, (
        f"the image that ran ({record.image}) was never pulled as {image}: it is another "
        "image under that name"
    )
    wanted = _digest(target)
    known = {record.image, *(each.partition("@")[2] for each in digests)}
    assert not wanted or wanted in known, (
        f"the image that ran is not {wanted}, but {digests[0]} (image {record.image}): "
        f"another image has the name {image} in the registry"
    )
    whose = "as it has to be" if wanted else "any image of that name (digest in the target file)"
    evidence.say(f"{digests[0][:40]}…: {whose}")


#: An image by its digest, as Docker lists where it came from.
_DIGEST = re.compile(r"[\w./:-]{1,250}(:[\w.-]{1,128})?@sha256:[0-9a-f]{64}", re.ASCII)


def _digest(target: Target) -> str:
    """Return which image it has to be, by its digest or its id; empty: nobody said."""
    ours = target.place == "lab" and target.reference == "hello-world"
    return target.digest or (hello.image_id() if ours else "")


def _repository(name: str) -> str:
    """Return an image's name without tag and digest, as Docker shortens those of Docker Hub."""
    bare = re.sub(r"(:[^:/]+)?(@.*)?$", "", name)
    return bare.removeprefix("docker.io/").removeprefix("library/")
