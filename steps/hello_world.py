"""hello-world: the pull, the run, and dockerd's record of it.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, then, when

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.facts import dockerd
from docker_lxc_gate.formats import id_map
from docker_lxc_gate.lab.docker_images import hello
from docker_lxc_gate.verdict import evidence
from steps.docker import CAUSES, DockerRun, cause, known_cause, other_driver, output, run_docker
from steps.target import ids_of

if TYPE_CHECKING:
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport
    from remediation.plan_file import PlanFile

#: Not the platform's fault: the image has ids that the container's map lacks.
_OTHER_IDS = patterns.compile(r"(?i)failed to Lchown.*invalid argument")
#: How dockerd and containerd say that they cannot store an image: a layer, or a file of their own.
_NOT_STORED = patterns.compile(
    r"(?i)(failed to (register|extract|prepare) .|creating temporary lease|"
    r'[\w/]{1,20}( "?/[^\s:"]{1,300}){1,2}"?: (permission denied|operation not permitted|'
    r"no such file or directory|not a directory|no space left|disk quota|read-only file system|"
    r"input/output error|function not implemented)).{0,500}"
)
#: The lines of dockerd's log that are about a pull.
_OF_PULLS = patterns.compile(r"(?i)\b(pull|download|images/create)\b")


@pytest.fixture(scope="session")
def image(target: Target) -> str:
    """The image that Docker pulls and runs."""
    return target.image


def _pull(
    container: Transport, image: str, ids: Callable[[], Mapping[str, Sequence[id_map.Range]]]
) -> str:
    """Pull the image; return what the platform refused, or nothing.

    A registry refuses in words of its own, or in those of a proxy: whatever is not of the
    container's own system makes the verdict undetermined, not red. So does an image with files of
    an id that the container does not have, unless the id is in a hole of the container's map.
    """
    since = container.look(["date", "+%s"]).require().text.strip()
    pulled = run_docker(container, "pull", image)
    if pulled.ok:
        return ""
    # If dockerd cannot unpack a layer, it tries the next registry, and reports only that error.
    journal = ["journalctl", "-u", "docker", "--since", f"@{since}", "-q", "--no-pager"]
    log = container.look([*journal, "-o", "cat"])
    if match := _OTHER_IDS.search(f"{output(pulled)}\n{log.text}"):
        missed = id_map.missed(match[0]) or (id_map.NEEDED, id_map.NEEDED)
        for (kind, ranges), number in zip(ids().items(), missed, strict=True):
            if any(first <= number <= last for first, last in id_map.holes(ranges)):
                return (
                    f"{image} holds files of {kind} {number}, and the container's id map has a "
                    f"hole there: map every id from 0 to 65535. Docker said: {match[0]}"
                )
        raise FactError(
            f"{image} holds files of ids that the container's map does not have: a defect of the "
            "image, no failure of the platform. Build it with ids below 65536, or give the "
            f"container more subordinate ids. Docker said: {match[0]}"
        )
    lines = [*output(pulled).splitlines(), *filter(_OF_PULLS.search, log.text.splitlines())]
    if refused := next(filter(None, map(_NOT_STORED.search, lines)), None):
        words = refused[0].rstrip('"')
        return f"{image} cannot be pulled: {cause(words)}"
    if known_cause(output(pulled)):  # of no registry: docker found no daemon, say
        return ""
    raise TransportError(f"the registry did not serve {image}: {cause(output(pulled))}")


@given("hello-world is not in the container")
def image_is_absent(container: Transport, image: str) -> None:
    """Remove the image, so that Docker must pull it."""
    run_docker(container, "image", "rm", "-f", image)
    if run_docker(container, "image", "inspect", image).ok:
        raise FactError(f"{image} cannot be removed: something uses it (docker ps -a)")


@when("hello-world is run", target_fixture="docker_run")
def hello_world_runs(
    container: Transport, runtime: Runtime, ctid: int, image: str, request: pytest.FixtureRequest
) -> DockerRun:
    """Run it as the plan says, but named and kept, so that dockerd's record remains."""
    obstacle = _pull(container, image, lambda: ids_of(runtime, runtime.node, ctid))
    name = f"gate-{secrets.token_hex(4)}"
    request.addfinalizer(lambda: run_docker(container, "rm", "-f", name))
    return DockerRun(name, run_docker(container, "run", "--name", name, image), obstacle)


@then("it greets and exits with 0")
def it_greets(  # noqa: PLR0917 - its fixtures
    container: Transport,
    runtime: Runtime,
    ctid: int,
    docker_run: DockerRun,
    image: str,
    wanted: PlanFile,
) -> None:
    """Check the output that a user sees."""
    result = docker_run.result
    assert result.ok or not docker_run.obstacle, docker_run.obstacle
    assert result.ok, (
        f"{other_driver(runtime, ctid, wanted.drivers)}{image} ended with {result.exit_code}: "
        f"{cause(output(result))}{_runc(container, result)}"
    )
    assert "Hello from Docker!" in result.text, f"{image} did not greet: {result.text[:200]!r}"
    evidence.say(f"exit 0, greeted, in {result.seconds:.1f} s")


@evidence.explanation
def _runc(container: Transport, result: CommandResult) -> str:
    """Return runc's version if it explains the failure."""
    if cause(output(result)) != CAUSES[0][1]:
        return ""
    return f"; it has {container.look(['runc', '--version']).text.partition(chr(10))[0]}"


@then("Docker's own record, asked from the node, says the same")
def record_says_the_same(runtime: Runtime, ctid: int, docker_run: DockerRun) -> None:
    """Query dockerd's socket from the node: a witness without any program of the container."""
    state = _record(runtime, ctid, docker_run)[1].state
    assert (state.status, state.exit_code) == ("exited", 0), (
        f"dockerd recorded {state.status!r}, exit code {state.exit_code}: {state.error[:300]!r}"
    )


def _record(
    runtime: Runtime, ctid: int, docker_run: DockerRun
) -> tuple[dockerd.Daemon, dockerd.ContainerRecord]:
    """Return the daemon, and its record of a run."""
    daemon = dockerd.find(runtime, ctid)
    assert daemon is not None, "no dockerd runs in the container, so it cannot have run the image"
    record = daemon.record(docker_run.name)
    assert record is not None, (
        f"dockerd has no record of this run (no container {docker_run.name}): another daemon ran "
        "it, or docker is another program"
    )
    return daemon, record


@then("the image that ran came from the registry")
def image_is_genuine(
    runtime: Runtime, ctid: int, docker_run: DockerRun, image: str, target: Target
) -> None:
    """Another image with the same name has no digest of the registry, or another one.

    The target may name the digest. The lab's own is known by the digest of its configuration, and
    containerd's image store names an image by that of its manifest.
    """
    daemon, record = _record(runtime, ctid, docker_run)
    stored = daemon.image(record.image)
    every = (stored.repo_digests if stored else None) or []
    named = (digest for digest in every if _DIGEST.fullmatch(digest))
    digests = [digest for digest in named if _repository(digest) == _repository(image)]
    assert digests, (
        f"the image that ran ({record.image}) was never pulled as {image}: it is another "
        "image under that name"
    )
    pulled = {digest.partition("@")[2] for digest in digests}
    ours = target.place == "lab" and target.image == "hello-world"
    wanted = target.digest or (hello.image_id() if ours and record.image not in pulled else "")
    assert not wanted or wanted in {record.image, *pulled}, (
        f"the image that ran is not {wanted}, but {digests[0]} (image {record.image}): "
        f"another image has the name {image} in the registry"
    )
    whose = "as it has to be" if wanted else "any image of that name (digest in the target file)"
    evidence.say(f"{digests[0][:40]}…: {whose}")


#: An image by its digest, as Docker lists where it came from.
_DIGEST = patterns.compile(r"[\w./:-]{1,250}(:[\w.-]{1,128})?@sha256:[0-9a-f]{64}")


def _repository(name: str) -> str:
    """Return an image's name without tag and digest, as Docker shortens those of Docker Hub."""
    bare = patterns.sub(r"(:[^:/]+)?(@.*)?$", "", name)
    return bare.removeprefix("docker.io/").removeprefix("library/")
