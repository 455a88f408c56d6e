"""The files of a target, on a machine whose /etc is a directory of ours."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.lint import remote
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Kind
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Local, Transport
from tests.doubles.naming import naming

CONF = (
    "arch: amd64\nostype: debian\nrootfs: local:1\nunprivileged: 1\n"
    "lxc.apparmor.profile: lxc-docker\n"
)
PHOENIX = "/srv/phoenix"


class Rooted(Transport):
    """This machine, with other directories in place of its own."""

    machine = "pve1"

    def __init__(self, root: Path) -> None:
        self.root, self.broken = root, ""
        root.mkdir(parents=True)

    def execute(self, command: Command) -> CommandResult:
        argv = command.words
        if self.broken and self.broken in argv:
            return CommandResult(argv, 1, b"", b"find: unrecognized: -size", "m", 0.0, 0.0)
        here = [self._moved(word) for word in argv]
        told = Local().run(here, stdin=command.stdin, timeout=command.timeout)
        out = told.stdout.replace(os.fsencode(self.root), b"")
        return CommandResult(argv, told.exit_code, out, told.stderr, "m", 0.0, 0.0)

    def _moved(self, word: str) -> str:
        places = ("/etc/", "/lib/systemd", "/var/lib/lxc", PHOENIX)
        return f"{self.root}{word}" if word.startswith(places) else word

    def put(self, path: str, content: str) -> None:
        place = Path(f"{self.root}{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)


class Runtime(SimpleNamespace):
    """A node with one container, which runs."""

    def __init__(self, folder: Path, kind: str = "pct") -> None:
        super().__init__(
            kind=kind, node=Rooted(folder / "node"), guest=Rooted(folder / "guest"), up="running"
        )

    def inside(self, _: int) -> Rooted:
        guest: Rooted = self.guest
        return guest

    def state(self, _: int) -> str:
        return str(self.up)

    def config_path(self, ctid: int) -> str:
        pct = self.kind == "pct"
        return f"/etc/pve/lxc/{ctid}.conf" if pct else f"/var/lib/lxc/{ctid}/config"


@pytest.fixture
def runtime(tmp_path: Path) -> Any:
    made = Runtime(tmp_path)
    made.node.put("/etc/pve/lxc/950.conf", CONF)
    made.node.put("/etc/pve/lxc/951.conf", CONF)
    made.node.put("/etc/apparmor.d/lxc-docker", "profile lxc-docker {\n  file,\n}\n")
    made.node.put("/etc/apparmor.d/tunables/global", "@{PROC}=/proc/\n")
    made.node.put("/etc/apparmor.d/abstractions/base", "/dev/null rw,\n")
    made.node.put("/etc/apparmor.d/disable/x", "profile x {\n}\n")
    for name in ("etc/apparmor/lxc-docker", "etc/.git/lxc-docker", "bin/lxc-docker"):
        made.node.put(f"{PHOENIX}/{name}", "profile lxc-docker {\n  file,\n}\n")
    made.guest.put("/etc/docker/daemon.json", "{}")
    made.guest.put("/etc/docker/other.json", "{}")
    made.guest.put("/lib/systemd/system/docker.service", "[Service]\n")
    made.guest.put("/etc/systemd/system/docker.service.d/a b.conf", "[Service]\n")
    return made


NODE = {
    "/etc/apparmor.d/lxc-docker": Kind.PROFILE,
    "/etc/apparmor.d/tunables/global": Kind.TUNABLES,
    f"{PHOENIX}/etc/apparmor/lxc-docker": Kind.PROFILE,
}
GUEST = {
    "container 950:/etc/docker/daemon.json": Kind.DAEMON,
    "container 950:/lib/systemd/system/docker.service": Kind.UNIT,
    "container 950:/etc/systemd/system/docker.service.d/a b.conf": Kind.UNIT,
}


def found(of: remote.Found) -> dict[str, Kind]:
    return {each.path: each.kind for each in of.sources}


def test_container_is_linted_with_its_node_and_its_docker(runtime: Any) -> None:
    told = remote.of_container(runtime, 950, PHOENIX)
    assert told.findings == []
    assert found(told) == {"/etc/pve/lxc/950.conf": Kind.CONTAINER, **NODE, **GUEST}
    assert {each.base for each in told.sources if "apparmor.d" in each.path} == {"/etc/apparmor.d"}


def test_node_is_linted_with_all_its_containers(runtime: Any) -> None:
    confs = {f"/etc/pve/lxc/{ctid}.conf": Kind.CONTAINER for ctid in (950, 951)}
    assert found(remote.of_node(runtime, PHOENIX)) == {**confs, **NODE}


def test_plain_lxc_has_another_place(tmp_path: Path) -> None:
    runtime: Any = Runtime(tmp_path, "lxc")
    runtime.node.put("/var/lib/lxc/950/config", "lxc.uts.name = a\n")
    expected = {"/var/lib/lxc/950/config": Kind.LXC}
    assert found(remote.of_node(runtime, PHOENIX)) == expected
    assert found(remote.of_container(runtime, 950, PHOENIX)) == expected


def test_stopped_container_is_linted_from_outside_and_that_is_said(runtime: Any) -> None:
    runtime.up = "stopped"
    told = remote.of_container(runtime, 950, PHOENIX)
    assert [each.cause for each in told.findings] == [
        "container 950 does not run: Docker's settings in it were not linted"
    ]
    assert not any(path.startswith("container") for path in found(told))


def test_guest_that_cannot_be_asked_is_said(runtime: Any) -> None:
    runtime.guest.broken = "find"
    told = remote.of_container(runtime, 950, PHOENIX)
    assert "cannot be listed: find: unrecognized" in told.findings[0].cause
    runtime.node.broken = "find"
    with naming(FactError, runtime.node.machine, "find: unrecognized"):
        remote.of_container(runtime, 950, PHOENIX)


def test_container_or_node_without_files_is_an_error(tmp_path: Path) -> None:
    runtime: Any = Runtime(tmp_path)
    with naming(FactError, "container 950"):
        remote.of_container(runtime, 950, PHOENIX)
    with naming(FactError, runtime.node.machine, "Proxmox host"):
        remote.of_node(runtime, PHOENIX)


def test_links_and_large_files_of_a_target_are_left_out(runtime: Any) -> None:
    node = runtime.node.root
    (node / "etc/pve/lxc/951.conf").unlink()
    (node / "etc/pve/lxc/951.conf").symlink_to("/etc/passwd")
    runtime.node.put("/etc/pve/lxc/952.conf", "#" * (2 << 20))
    confs = [
        path for path in found(remote.of_node(runtime, PHOENIX)) if path.startswith("/etc/pve")
    ]
    assert confs == ["/etc/pve/lxc/950.conf"]


def test_node_that_is_gone_is_an_error(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> CommandResult:
        raise TransportError("gone")

    monkeypatch.setattr(runtime.node, "execute", gone)
    with naming(TransportError, "gone"):
        remote.of_node(runtime, PHOENIX)


def test_guest_with_thousands_of_files_is_not_read(
    runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(101):
        runtime.guest.put(f"/etc/systemd/system/docker.service.d/{number}.conf", "[Service]\n")
    told = remote.of_container(runtime, 950, PHOENIX)
    assert "there are more than 100 files to lint" in told.findings[0].cause
    assert found(told) == {"/etc/pve/lxc/950.conf": Kind.CONTAINER, **NODE}
    monkeypatch.setattr(remote, "MOST_BYTES", 3)
    with pytest.raises(FactError, match="more than 0 MiB to lint"):
        remote.of_node(runtime, PHOENIX)


def test_lxcs_own_abstractions_are_judged_with_the_profiles_of_a_node(runtime: Any) -> None:
    runtime.node.put("/etc/apparmor.d/abstractions/lxc/own", "change_profile -> **,\n")
    runtime.node.put("/etc/apparmor.d/local/own", "include <abstractions/lxc/own>\n")
    runtime.node.put(
        "/etc/apparmor.d/lxc-docker", "profile lxc-docker {\n  include <local/own>\n}\n"
    )
    told = [(each.id, each.path) for each in check(remote.of_node(runtime, PHOENIX).sources)]
    assert told == [("profile-change-any", "/etc/apparmor.d/abstractions/lxc/own")]
