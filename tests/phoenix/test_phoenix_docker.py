"""The docker feature, before the plan and after it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from phoenix_node import (
    AFTER,
    BEFORE,
    MIRRORS,
    Node,
)

if TYPE_CHECKING:
    from pathlib import Path

DOCKER_PACKAGES = "docker.io ca-certificates iptables docker-cli"


def with_docker(node: Node) -> None:
    assert node.install_docker(BEFORE).returncode == 0
    assert node.inside("docker").read_text() == "overlay2"
    node.forget()


def with_daemon_json(node: Node, text: str) -> Path:
    path = node.inside("/etc/docker/daemon.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_before_installs_docker_and_leaves_settings_alone(created: Node) -> None:
    settings = with_daemon_json(created, MIRRORS)
    result = created.install_docker(BEFORE)
    assert result.returncode == 0, result.stderr
    assert created.done_inside() == [
        "apt-get update",
        f"apt-get install -y --no-install-recommends {DOCKER_PACKAGES}",
    ]
    assert settings.read_text() == MIRRORS


def test_before_installs_docker_of_debian_12(created: Node) -> None:
    (created.fake / "trixie").unlink()
    assert created.install_docker(BEFORE).returncode == 0
    assert created.done_inside()[-1].endswith("docker.io ca-certificates iptables")
    assert created.inside("/usr/bin/docker").exists()


def test_removed_package_is_not_an_installed_one(created: Node) -> None:
    with created.inside("packages").open("a") as packages:
        packages.write("docker.io rc\nfuse-overlayfs rc\n")
    assert created.install_docker(AFTER).returncode == 0
    assert "apt-get install -y fuse-overlayfs" in created.done_inside()


@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_stopped_service_is_enabled_and_started(created: Node, script: Path) -> None:
    assert created.install_docker(script).returncode == 0
    created.inside("docker").unlink()
    created.inside("enabled").unlink()
    created.forget()
    assert created.install_docker(script).returncode == 0
    assert created.done_inside() == ["systemctl enable docker", "systemctl start docker"]


@pytest.mark.parametrize("fault", ["apt-update", "apt-install", "push"])
@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_install_fails_when_a_step_fails(created: Node, script: Path, fault: str) -> None:
    if script == BEFORE and fault == "push":
        fault = "apt-install"
    created.breaks(fault)
    assert created.install_docker(script).returncode not in (0, 2)
    assert not created.inside("docker").exists()


@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_docker_that_does_not_start_is_a_failure(created: Node, script: Path) -> None:
    assert created.install_docker(script).returncode == 0
    created.inside("docker").unlink()
    created.breaks("docker-start")
    assert created.install_docker(script).returncode == 1


@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_install_needs_a_container(node: Node, script: Path) -> None:
    assert node.run("bash", str(script)).returncode == 2
    result = node.install_docker(script)
    assert result.returncode == 1
    assert "cannot run commands in container 950" in result.stderr


def test_after_sets_the_driver_before_docker_is_there(created: Node) -> None:
    settings = with_daemon_json(created, MIRRORS)
    settings.chmod(0o600)
    result = created.install_docker(AFTER)
    assert result.returncode == 0, result.stderr
    done = created.done_inside()
    assert done.index("apt-get install -y fuse-overlayfs") < done.index(
        f"apt-get install -y --no-install-recommends {DOCKER_PACKAGES}",
    )
    assert "systemctl restart docker" not in done
    assert json.loads(settings.read_text()) == {
        **json.loads(MIRRORS),
        "storage-driver": "fuse-overlayfs",
    }
    assert settings.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.parent.iterdir()] == ["daemon.json"]
    assert created.inside("docker").read_text() == "fuse-overlayfs"


@pytest.mark.parametrize("text", ["", None], ids=["empty", "absent"])
def test_after_without_settings(created: Node, text: str | None) -> None:
    if text is not None:
        with_daemon_json(created, text)
    assert created.install_docker(AFTER).returncode == 0
    settings = created.inside("/etc/docker/daemon.json")
    assert json.loads(settings.read_text()) == {"storage-driver": "fuse-overlayfs"}


def test_after_restarts_a_running_docker_once(created: Node) -> None:
    with_docker(created)
    assert created.install_docker(AFTER).returncode == 0
    assert created.done_inside().count("systemctl restart docker") == 1
    assert created.inside("docker").read_text() == "fuse-overlayfs"
    created.forget()
    before = created.files()
    assert created.install_docker(AFTER).returncode == 0
    assert created.changes() == []
    assert created.files() == before


def test_after_makes_up_for_a_restart_that_was_missed(created: Node) -> None:
    with_docker(created)
    created.breaks("docker-start")
    assert created.install_docker(AFTER).returncode == 1
    (created.fake / "broken/docker-start").unlink()
    created.forget()
    assert created.install_docker(AFTER).returncode == 0
    assert created.done_inside() == ["systemctl restart docker"]


def test_after_fails_when_docker_keeps_another_driver(created: Node) -> None:
    with_docker(created)
    created.breaks("driver")
    result = created.install_docker(AFTER)
    assert result.returncode == 1
    assert "another driver" in result.stderr


@pytest.mark.parametrize("text", ['{"debug": true,}', "[]", '"text"'])
def test_after_leaves_settings_that_it_cannot_read(created: Node, text: str) -> None:
    with_docker(created)
    settings = with_daemon_json(created, text)
    result = created.install_docker(AFTER)
    assert result.returncode == 1
    assert "not a JSON object" in result.stderr
    assert settings.read_text() == text
    assert created.inside("docker").read_text() == "overlay2"


def test_after_refuses_settings_of_more_than_a_mebibyte(created: Node) -> None:
    with_docker(created)
    text = '{"debug": true}' + " " * (2 << 20)
    settings = with_daemon_json(created, text)
    result = created.install_docker(AFTER)
    assert result.returncode == 1
    assert "or it is larger than 1 MiB" in result.stderr
    assert settings.read_text() == text
    assert created.inside("docker").read_text() == "overlay2"


def test_after_notices_a_push_that_failed_silently(created: Node) -> None:
    with_docker(created)
    settings = with_daemon_json(created, MIRRORS)
    created.breaks("push")
    result = created.install_docker(AFTER)
    assert result.returncode == 1
    assert "could not write" in result.stderr
    assert settings.read_text() == MIRRORS
    assert "systemctl restart docker" not in created.done_inside()


def test_adding_only_set_e_breaks_nothing(created: Node, tmp_path: Path) -> None:
    script = tmp_path / "strict.sh"
    script.write_text(BEFORE.read_text().replace("#!/bin/bash\n", "#!/bin/bash\nset -e\n", 1))
    assert created.install_docker(script).returncode == 0
    created.forget()
    assert created.install_docker(script).returncode == 0
    assert created.changes() == []
