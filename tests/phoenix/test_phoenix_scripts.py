"""The scripts after the plan, in the states that no run on the lab begins from.

The stand-in fails on anything it was not told about, and so does a test where that happened.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from phoenix_node import MIRRORS, Node

INSTALL = "apt-get install -y"
WITH_DRIVER = {**json.loads(MIRRORS), "storage-driver": "fuse-overlayfs"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    assert node.unknown() == ""


def with_docker(node: Node) -> None:
    """Docker on its default driver."""
    with node.inside("packages").open("a") as packages:
        packages.write("docker.io ii\ndocker-cli ii\n")
    client = node.inside("/usr/bin/docker")
    client.parent.mkdir(parents=True)
    client.touch(0o755)
    node.inside("docker").write_text("overlay2")


def with_daemon_json(node: Node, text: str) -> Path:
    path = node.inside("/etc/docker/daemon.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def nothing_written(node: Node) -> bool:
    """Return whether no file of the container was written; a package may be installed before."""
    return not [argv for argv in node.changes() if argv[1] == "push" or {"mv", "mkdir"} & {*argv}]


def test_install_sets_the_driver_before_docker_and_keeps_the_files_mode(node: Node) -> None:
    settings = with_daemon_json(node, MIRRORS)
    settings.chmod(0o600)
    assert node.install_docker().returncode == 0
    done = node.done_inside()
    assert [line.removeprefix(INSTALL).split()[-1] for line in done if INSTALL in line] == [
        "fuse-overlayfs",
        "docker-cli",
    ]
    assert "systemctl restart docker" not in done
    assert json.loads(settings.read_text()) == WITH_DRIVER
    assert settings.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.parent.iterdir()] == ["daemon.json"]


def test_install_over_a_running_docker_restarts_it_once(node: Node) -> None:
    with_docker(node)
    assert node.install_docker().returncode == 0
    assert node.done_inside().count("systemctl restart docker") == 1
    node.forget()
    assert node.install_docker().returncode == 0
    assert node.changes() == []


@pytest.mark.laws
def test_install_after_a_failed_restart_restarts_docker(node: Node) -> None:
    with_docker(node)
    node.breaks("docker-start")
    assert node.install_docker().returncode == 1
    (node.fake / "broken/docker-start").unlink()
    node.forget()
    assert node.install_docker().returncode == 0
    assert node.done_inside() == ["systemctl restart docker"]


def test_install_with_docker_on_another_driver_fails(node: Node) -> None:
    with_docker(node)
    node.breaks("driver")
    assert node.install_docker().returncode == 1


@pytest.mark.parametrize(
    "text",
    ['{"debug": true,}', "[]", '"text"', '{"debug": true}' + " " * (2 << 20)],
    ids=["no JSON", "list", "text", "over a mebibyte"],
)
def test_install_over_settings_it_cannot_read_leaves_them(node: Node, text: str) -> None:
    with_docker(node)
    settings = with_daemon_json(node, text)
    assert node.install_docker().returncode == 1
    assert settings.read_text() == text
    assert node.inside("docker").read_text() == "overlay2"


def test_install_with_a_push_that_fails_silently_leaves_settings(node: Node) -> None:
    with_docker(node)
    settings = with_daemon_json(node, MIRRORS)
    node.breaks("push")
    assert node.install_docker().returncode == 1
    assert settings.read_text() == MIRRORS
    assert "systemctl restart docker" not in node.done_inside()


def test_install_script_of_a_guest_whose_cat_never_ends_stops_at_its_limit(node: Node) -> None:
    with_docker(node)
    settings = with_daemon_json(node, MIRRORS)
    node.breaks("cat-endless")
    done = node.install_docker()
    assert done.returncode == 1
    assert "1 MiB" in done.stderr
    assert not (node.fake / "read to the end").exists()
    assert settings.read_text() == MIRRORS
    assert nothing_written(node)


@pytest.mark.laws
@pytest.mark.parametrize(
    "mode", ["644; x", "644 --user 0", "644\n755", "-644", "--perms", "88", "64444", "", "u+s"]
)
def test_install_script_refuses_a_strange_mode_of_a_guest(node: Node, mode: str) -> None:
    """It would become part of a command on the node."""
    with_docker(node)
    settings = with_daemon_json(node, MIRRORS)
    (node.fake / "mode").write_text(f"{mode}\n")
    done = node.install_docker()
    assert done.returncode == 1
    assert "mode" in done.stderr
    assert settings.read_text() == MIRRORS
    assert nothing_written(node)
