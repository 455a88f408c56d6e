"""The docker feature after the plan, in the states that no run on the lab begins from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from phoenix_node import AFTER, MIRRORS, Node

if TYPE_CHECKING:
    from pathlib import Path

INSTALL = "apt-get install -y"
WITH_DRIVER = {**json.loads(MIRRORS), "storage-driver": "fuse-overlayfs"}


def with_docker(node: Node) -> None:
    """Docker on its default driver."""
    with node.inside("packages").open("a") as packages:
        packages.write("docker.io ii\ndocker-cli ii\n")
    client = node.inside("/usr/bin/docker")
    client.parent.mkdir(parents=True)
    client.touch()
    node.inside("enabled").touch()
    node.inside("docker").write_text("overlay2")


def with_daemon_json(node: Node, text: str) -> Path:
    path = node.inside("/etc/docker/daemon.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def nothing_written(node: Node) -> bool:
    """Return whether no file of the container was written; a package may be installed before."""
    return not [argv for argv in node.changes() if argv[1] == "push" or {"mv", "mkdir"} & {*argv}]


def test_install_without_a_container_fails(node: Node) -> None:
    assert node.run("bash", str(AFTER)).returncode == 2
    assert node.install_docker().returncode == 1


def test_install_sets_the_driver_before_docker_and_keeps_the_files_mode(created: Node) -> None:
    settings = with_daemon_json(created, MIRRORS)
    settings.chmod(0o600)
    assert created.install_docker().returncode == 0
    done = created.done_inside()
    assert [line.removeprefix(INSTALL).split()[-1] for line in done if INSTALL in line] == [
        "fuse-overlayfs",
        "docker-cli",
    ]
    assert "systemctl restart docker" not in done
    assert json.loads(settings.read_text()) == WITH_DRIVER
    assert settings.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.parent.iterdir()] == ["daemon.json"]


def test_install_on_debian_12_asks_for_no_docker_cli(created: Node) -> None:
    (created.fake / "trixie").unlink()
    assert created.install_docker().returncode == 0
    packages = "docker.io ca-certificates iptables"
    assert f"{INSTALL} --no-install-recommends {packages}" in created.done_inside()


@pytest.mark.laws
def test_install_over_removed_packages_installs_them(created: Node) -> None:
    with created.inside("packages").open("a") as packages:
        packages.write("docker.io rc\nfuse-overlayfs rc\n")
    assert created.install_docker().returncode == 0
    assert f"{INSTALL} fuse-overlayfs" in created.done_inside()


@pytest.mark.laws
@pytest.mark.parametrize("text", ["", None], ids=["empty", "absent"])
def test_install_without_settings_writes_the_driver_alone(created: Node, text: str | None) -> None:
    if text is not None:
        with_daemon_json(created, text)
    assert created.install_docker().returncode == 0
    settings = created.inside("/etc/docker/daemon.json")
    assert json.loads(settings.read_text()) == {"storage-driver": "fuse-overlayfs"}


@pytest.mark.parametrize("fault", ["apt-update", "apt-install", "push"])
def test_install_with_a_failing_step_fails_before_docker_runs(created: Node, fault: str) -> None:
    created.breaks(fault)
    assert created.install_docker().returncode not in (0, 2)
    assert not created.inside("docker").exists()


def test_install_over_a_running_docker_restarts_it_once(created: Node) -> None:
    with_docker(created)
    assert created.install_docker().returncode == 0
    assert created.done_inside().count("systemctl restart docker") == 1
    created.forget()
    assert created.install_docker().returncode == 0
    assert created.changes() == []


@pytest.mark.laws
def test_install_over_a_stopped_docker_enables_and_starts_it(created: Node) -> None:
    assert created.install_docker().returncode == 0
    created.inside("docker").unlink()
    created.inside("enabled").unlink()
    created.forget()
    assert created.install_docker().returncode == 0
    assert created.done_inside() == ["systemctl enable docker", "systemctl start docker"]


@pytest.mark.laws
def test_install_after_a_failed_restart_restarts_docker(created: Node) -> None:
    with_docker(created)
    created.breaks("docker-start")
    assert created.install_docker().returncode == 1
    (created.fake / "broken/docker-start").unlink()
    created.forget()
    assert created.install_docker().returncode == 0
    assert created.done_inside() == ["systemctl restart docker"]


def test_install_with_docker_on_another_driver_fails(created: Node) -> None:
    with_docker(created)
    created.breaks("driver")
    assert created.install_docker().returncode == 1


@pytest.mark.parametrize(
    "text",
    ['{"debug": true,}', "[]", '"text"', '{"debug": true}' + " " * (2 << 20)],
    ids=["no JSON", "list", "text", "over a mebibyte"],
)
def test_install_over_settings_it_cannot_read_leaves_them(created: Node, text: str) -> None:
    with_docker(created)
    settings = with_daemon_json(created, text)
    assert created.install_docker().returncode == 1
    assert settings.read_text() == text
    assert created.inside("docker").read_text() == "overlay2"


def test_install_with_a_push_that_fails_silently_leaves_settings(created: Node) -> None:
    with_docker(created)
    settings = with_daemon_json(created, MIRRORS)
    created.breaks("push")
    assert created.install_docker().returncode == 1
    assert settings.read_text() == MIRRORS
    assert "systemctl restart docker" not in created.done_inside()


def test_install_script_of_a_guest_whose_cat_never_ends_stops_at_its_limit(created: Node) -> None:
    with_docker(created)
    settings = with_daemon_json(created, MIRRORS)
    created.breaks("cat-endless")
    done = created.install_docker()
    assert done.returncode == 1
    assert "1 MiB" in done.stderr
    assert not (created.fake / "read to the end").exists()
    assert settings.read_text() == MIRRORS
    assert nothing_written(created)


@pytest.mark.laws
@pytest.mark.parametrize(
    "mode", ["644; x", "644 --user 0", "644\n755", "-644", "--perms", "88", "64444", "", "u+s"]
)
def test_install_script_refuses_a_strange_mode_of_a_guest(created: Node, mode: str) -> None:
    """It would become part of a command on the node."""
    with_docker(created)
    settings = with_daemon_json(created, MIRRORS)
    (created.fake / "mode").write_text(f"{mode}\n")
    done = created.install_docker()
    assert done.returncode == 1
    assert "mode" in done.stderr
    assert settings.read_text() == MIRRORS
    assert nothing_written(created)
