"""A container without Docker: each scenario that needs it says so, and what to do."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from steps import docker, hello_world, provisioning
from targets.transport import Base, CommandResult
from tests.doubles.canned import Machine, Runtime
from tests.doubles.dockerd import no_dockerd

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID = docker.NO_DOCKER


class Guest(Base):
    """A container whose commands end by a deadline, as all do; none of them is there."""

    machine = "container 950"

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        words = ["env", "-i", "PATH=/nowhere", "LC_ALL=C.UTF-8", "/usr/bin/timeout", "60", *argv]
        done = subprocess.run(words, capture_output=True, check=False)
        return CommandResult(
            tuple(argv), done.returncode, done.stdout, done.stderr, self.machine, 0.0, 0.0
        )


@pytest.fixture
def host() -> Any:
    """What testinfra says of it."""
    return SimpleNamespace(
        backend=SimpleNamespace(foresee=lambda _: None),
        service=lambda _: SimpleNamespace(is_running=False),
        package=lambda name: SimpleNamespace(name=name, is_installed=False),
        exists=lambda _: False,
        run=lambda _: SimpleNamespace(stdout=""),
    )


def test_docker_is_not_called_stopped(host: Any) -> None:
    with pytest.raises(AssertionError) as raised:
        docker.docker_runs(host)
    assert str(raised.value) == SAID
    with pytest.raises(AssertionError) as raised:
        provisioning.docker_is_installed(host)
    assert str(raised.value) == SAID


def test_one_that_is_stopped_is(host: Any) -> None:
    host.exists = {"dockerd", "docker"}.__contains__
    with pytest.raises(AssertionError) as raised:
        docker.docker_runs(host)
    assert str(raised.value) == "Docker is not running in the container: journalctl -u docker"


def test_what_a_docker_command_ends_with(monkeypatch: pytest.MonkeyPatch) -> None:
    no_dockerd(monkeypatch)
    with pytest.raises(AssertionError) as raised:
        docker.storage_driver_is(Guest(), Runtime(Machine()), 950, "fuse-overlayfs")
    assert str(raised.value) == f"Docker does not answer: {SAID}"
    run = docker.DockerRun("gate", Guest().run(["docker", "run", "hello-world"]))
    with pytest.raises(AssertionError) as raised:
        hello_world.it_greets(Guest(), Runtime(Machine()), 950, run, "hello-world")
    assert str(raised.value) == f"hello-world ended with 127: {SAID}"
