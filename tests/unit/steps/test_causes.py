"""What is behind what Docker said, and what keeps a container from starting."""

from __future__ import annotations

import pytest

from steps import docker, target
from targets.errors import TransportError
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import naming
from tests.unit.facts.test_apparmor import PROFILES

CONF = "/etc/pve/lxc/950.conf"
OCI = "docker: failed to create task for container: unable to start container process"
MOUNT = "using mount program fuse-overlayfs"
PORTS = "net.ipv4.ip_unprivileged_port_start"


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (f"open sysctl {PORTS} file: reopen fd 8: permission denied", "without a record"),
        (f"{MOUNT}: fuse: failed to open /dev/fuse: Permission denied", "no usable /dev/fuse"),
        (f"{MOUNT}: fuse: device not found, try 'modprobe fuse' first", "no usable /dev/fuse"),
        (
            f'{MOUNT}: <stderr empty>: exec: "fuse-overlayfs": executable file not found in $PATH',
            "not installed",
        ),
        (
            f"{MOUNT}: fuse: mount failed\nfuse-overlayfs: cannot mount: Operation not permitted",
            "fuse-overlayfs cannot mount",
        ),
        (f'{OCI}: exec: "/hello": stat /hello: no such file or directory: unknown.', "nothing"),
        (f"{OCI}: error preparing rootfs: remount-private /, flags: 0x40000: x", "nothing"),
        (f'{OCI}: error mounting "proc" to rootfs at "/proc": permission denied', "nested mounts"),
        ("something new\nSee 'docker run --help'.", "something new"),
        ("", "printed nothing"),
    ],
)
def test_cause_of_dockers_words_is_named_and_not_the_symptom(said: str, meaning: str) -> None:
    assert meaning in docker.cause(said)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("lxc.apparmor.profile: lxc-other\n", "lxc-other"),
        ("arch: amd64\n", "pct start 950"),
        (None, "pct start 950"),  # a configuration that cannot be read: stopped it is all the same
    ],
)
def test_container_is_running_that_is_stopped_names_what_keeps_it_from_starting(
    written: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = {"find /etc/pve/nodes -path '*/lxc/950.conf'": ""}
    node = Machine({CONF: written, PROFILES: "lxc-phoenix-v2 (enforce)\n"}, absent)
    monkeypatch.setattr(Runtime, "state", lambda *_: "stopped")
    with naming(TransportError, "container 950", "stopped", named):
        target.container_is_running(Runtime(node), 950)
