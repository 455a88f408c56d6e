"""What is behind what Docker said, and what keeps a container from starting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from steps import docker, target
from targets.errors import FactError, TransportError
from targets.runtime import container_config

OCI = "docker: Error response from daemon: failed to create task for container: "


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (
            "open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied",
            "the profile refuses that without a record",
        ),
        (
            "using mount program fuse-overlayfs: fuse: failed to open /dev/fuse: Permission denied",
            "no usable /dev/fuse",
        ),
        (
            "using mount program fuse-overlayfs: fuse: device not found, try 'modprobe fuse' first",
            "no usable /dev/fuse",
        ),
        (
            (
                'using mount program fuse-overlayfs: <stderr empty>: exec: "fuse-overlayfs": '
                "executable file not found in $PATH"
            ),
            "not installed, or not executable",
        ),
        (
            (
                "using mount program fuse-overlayfs: fuse: mount failed: Permission denied\n"
                "fuse-overlayfs: cannot mount: Operation not permitted"
            ),
            "fuse-overlayfs cannot mount",
        ),
        (
            (
                f'{OCI}unable to start container process: exec: "/hello": stat /hello: no such '
                "file or directory: unknown."
            ),
            "mounted nothing",
        ),
        (
            (
                f"{OCI}unable to start container process: error during container init: error "
                "preparing rootfs: remount-private /, flags: 0x40000: permission denied: unknown."
            ),
            "mounted nothing",
        ),
        (
            f'{OCI}error mounting "proc" to rootfs at "/proc": mount proc: permission denied',
            "nested mounts are refused",
        ),
        ("something new\nSee 'docker run --help'.", "something new"),
        ("", "Docker printed nothing"),
    ],
)
def test_the_cause_and_not_the_symptom(said: str, meaning: str) -> None:
    assert meaning in docker.cause(said)


def host(load: str, log: str) -> Any:
    answers = {"systemctl": load, "journalctl": log}
    return SimpleNamespace(run=lambda line: SimpleNamespace(stdout=answers[line.split()[0]]))


@pytest.mark.parametrize(
    ("load", "log", "why"),
    [
        ("masked\n", "", "it is masked"),
        (
            "loaded\n",
            (
                "unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid "
                "character ','\nFailed to start docker.service - Docker.\n"
            ),
            "invalid character ','",
        ),
        ("loaded\n", "Stopped docker.service\n", "journalctl -u docker"),
    ],
)
def test_dockerds_last_words_are_told(load: str, log: str, why: str) -> None:
    assert why in docker._why_down(host(load, log))


def stopped(written: str, loaded: bytes = b"lxc-phoenix-v2 (enforce)\n") -> Any:
    node = SimpleNamespace(machine="the node", read=lambda _: loaded)
    read = container_config.parse("/etc/pve/lxc/950.conf", written)
    return SimpleNamespace(
        node=node,
        kind="lxc",
        state=lambda _: "stopped",
        configuration=lambda _: read,
        start_command=lambda ctid: f"lxc-start -n {ctid}",
    )


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("lxc.mount.entry: /dev/fuse\n", "the mount entry '/dev/fuse' lacks target, type, options"),
        ("lxc.apparmor.profile: lxc-other\n", "the kernel does not know its profile lxc-other"),
        ("lxc.apparmor.profile: lxc-phoenix-v2\n", "is stopped: nothing inside it"),
        ("lxc.apparmor.profile: unconfined\n", "is stopped: nothing inside it"),
        ("arch: amd64\n", "is stopped: nothing inside it"),
    ],
)
def test_a_container_that_cannot_start_is_said_why(written: str, why: str) -> None:
    with pytest.raises(TransportError, match=r"container 950 .* is stopped") as error:
        target.container_is_running(stopped(written), 950)
    assert why in str(error.value)


def test_one_that_cannot_be_asked_is_stopped_all_the_same() -> None:
    runtime = stopped("")

    def absent(_: int) -> Any:
        raise FactError("no configuration")

    runtime.configuration = absent
    with pytest.raises(TransportError, match="is stopped: nothing inside it"):
        target.container_is_running(runtime, 950)
