"""An image of ours, kept running to see which program mounts a Docker container's root.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.lab.docker_images import hello
from docker_lxc_gate.verdict import evidence
from remediation.data_root import profile_elsewhere
from steps.configuration import mounts_of
from steps.docker import PATIENCE, DockerRun, cause, other_driver, output, run_docker

if TYPE_CHECKING:
    import pytest

    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport

#: Our image: two layers, and a program that can wait. Docker Hub's hello-world has neither.
PROBE = "docker-lxc-gate/probe:latest"


@given("an image of two layers is loaded into Docker", target_fixture="loaded")
def image_is_loaded(container: Transport, request: pytest.FixtureRequest) -> CommandResult:
    """Load our image, because one layer needs no overlay. No registry is involved."""
    machine = container.look(["uname", "-m"]).require().text.strip()
    if machine != hello.MACHINE:
        raise FactError(
            f"{container.machine} is {machine}: the program in our image is for {hello.MACHINE}, "
            "so no Docker container can be kept running to look at its mount"
        )
    if not run_docker(container, "image", "inspect", PROBE).ok:
        request.addfinalizer(lambda: run_docker(container, "image", "rm", "-f", PROBE))
    archive = hello.docker_archive(PROBE)
    return container.run(["docker", "load", "-q"], stdin=archive, timeout=PATIENCE)


@when("a Docker container is running", target_fixture="docker_run")
def docker_container_runs(
    container: Transport, loaded: CommandResult, request: pytest.FixtureRequest
) -> DockerRun:
    """Start a waiting container and remove it at the end; without the image, keep its error."""
    name = f"gate-{secrets.token_hex(4)}"
    if not loaded.ok:
        return DockerRun(name, loaded)
    request.addfinalizer(lambda: run_docker(container, "rm", "-f", name))
    return DockerRun(
        name, run_docker(container, "run", "-d", "--name", name, PROBE, "/hello", "wait")
    )


@then("its root is mounted by fuse-overlayfs, as the node sees it, too")
def root_is_fuse(container: Transport, runtime: Runtime, ctid: int, docker_run: DockerRun) -> None:
    """Docker names the directory; the node reads the file system type from the mount table."""
    assert docker_run.result.ok, (
        f"{other_driver(runtime, ctid)}no container can be started: "
        f"{cause(output(docker_run.result))}{_elsewhere(runtime.node, container)}"
    )
    merged = _merged(container, docker_run)
    assert merged, (
        f"{other_driver(runtime, ctid)}Docker names no directory at which the container's root is "
        "mounted"
    )
    mounts = [mount for mount in mounts_of(runtime, ctid) if mount.place == merged]
    assert mounts, (
        f"{other_driver(runtime, ctid)}nothing is mounted at {merged} while a Docker container runs"
    )
    source, kind = mounts[-1].source, mounts[-1].type
    # The C version, or the Rust rewrite, which shows up as plain fuse with the program as source.
    assert kind == "fuse.fuse-overlayfs" or (kind, source) == ("fuse", "fuse-overlayfs"), (
        f"{other_driver(runtime, ctid)}{merged} is mounted by {kind} ({source}), not by "
        "fuse-overlayfs"
    )
    evidence.say(f"{kind} at {merged[:44]}…")


@evidence.explanation
def _elsewhere(node: Transport, container: Transport) -> str:
    """Return the rules that the profile lacks if Docker's data is at another place."""
    root = run_docker(container, "info", "-f", "{{.DockerRootDir}}").text.strip()
    lacks = profile_elsewhere(node, root) if root else ""
    return f"; {lacks}" if lacks else ""


#: The form of the mount point of a container's root; a driver without a mount has none.
_PLACE = patterns.compile(r"/[\w./-]+")


def _merged(container: Transport, docker_run: DockerRun) -> str:
    """Return the mount point of a Docker container's root; empty if Docker names none."""
    shown = run_docker(
        container, "inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", docker_run.name
    )
    place = shown.require().text.strip()
    return place if _PLACE.fullmatch(place) else ""


@then("a file of its image can be read through the mount")
def mount_serves(container: Transport, docker_run: DockerRun) -> None:
    """Read through the mount: if its process died, it is still in the table but serves nothing."""
    merged = _merged(container, docker_run)
    assert merged, "Docker names no directory at which the container's root is mounted"
    listing = container.look(["ls", "-A", merged])
    assert listing.ok, f"the mount serves nothing: {cause(output(listing))}"
    assert listing.text.split(), f"{merged} is empty: the fuse-overlayfs process behind it ended"
