"""A container without Docker: each scenario that needs it says so, and what to do."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from steps import docker, hello_world, provisioning
from tests.doubles.answering import Answer, Answering
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import not_compliant
from tests.doubles.programs.dockerd import no_dockerd


def absent(argv: list[str]) -> Answer:
    """Answer as a container whose commands end by a deadline, as all do; none of them is there."""
    words = ["env", "-i", "PATH=/nowhere", "LC_ALL=C.UTF-8", "/usr/bin/timeout", "60", *argv]
    done = subprocess.run(words, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


GUEST = Answering(absent, "container 950")


@pytest.fixture
def host() -> Any:
    """What testinfra says of it."""
    return SimpleNamespace(
        service=lambda _: SimpleNamespace(is_running=False),
        package=lambda name: SimpleNamespace(name=name, is_installed=False),
        exists=lambda _: False,
        run=lambda _: SimpleNamespace(stdout=""),
    )


def test_docker_runs_without_docker_says_that_it_is_not_installed(host: Any) -> None:
    for judge in (docker.docker_runs, provisioning.docker_is_installed):
        with not_compliant(docker.NO_DOCKER):
            judge(host)


def test_docker_runs_where_it_is_stopped_names_its_journal(host: Any) -> None:
    host.exists = {"dockerd", "docker"}.__contains__
    with not_compliant("journalctl -u docker") as raised:
        docker.docker_runs(host)
    assert docker.NO_DOCKER not in str(raised.value)


def test_docker_command_without_docker_says_that_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_dockerd(monkeypatch)
    with not_compliant(docker.NO_DOCKER):
        docker.storage_driver_is(GUEST, Runtime(Machine()), 950, "fuse-overlayfs")
    run = docker.DockerRun("gate", GUEST.run(["docker", "run", "hello-world"]))
    with not_compliant("127", docker.NO_DOCKER):
        hello_world.it_greets(GUEST, Runtime(Machine()), 950, run, "hello-world")
