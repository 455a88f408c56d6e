"""Provisioning: that it was from nothing, that it did something, and that twice is once."""

import shlex
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL
from remediation.provision import Provisioned
from steps import provisioning as steps
from steps import target as of_target
from steps.docker import NO_DOCKER
from tests.doubles.canned import BOOTED, Answer, Host, Machine, Runtime
from tests.doubles.naming import naming, not_compliant
from tests.unit.facts.test_apparmor import PROFILES

CREATED = Provisioned("phoenix create", ok=True, output="a\nb\nc\nd\n", seconds=3.0)
STATE = "lxc-info -P /var/lib/lxc -n 950 -s -H"
SEEN = f"find /etc/pve/lxc/950.conf -exec {STATE} ';'"
STATUS = "pct status 950"
ABSENT: Answer = (2, "", "Configuration file 'nodes/pve1/lxc/950.conf' does not exist\n")
#: The mode of Proxmox's link with quorum.
QUORATE: dict[str, Answer] = {shlex.join(IN_CONTROL.argv): "755\n"}
ELSEWHERE = "find /etc/pve/nodes -path '*/lxc/950.conf'"


def runtime(status: Answer) -> Runtime:
    there = {"/etc/pve/lxc/950.conf": None if status is ABSENT else "arch: amd64\n"}
    answers: dict[str, Answer] = {SEEN: status, STATE: status}
    if status is ABSENT:
        absent: Answer = (1, "", "950 doesn't exist")
        answers |= {SEEN: (1, "", "No such file"), STATE: absent, STATUS: ABSENT, ELSEWHERE: ""}
    return Runtime(Machine(there | {PROFILES: ""}, answers | QUORATE))


def test_container_did_not_exist_where_it_did_is_undetermined() -> None:
    steps.container_did_not_exist(CREATED)
    with pytest.raises(FactError):
        steps.container_did_not_exist(None)
    assert steps.provisioned(CREATED) is CREATED


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("error: Docker could not be enabled", True),
        ("[ERROR] no driver", True),
        ("E: Unable to locate package docker.io", True),
        ("install.sh: line 12: jq: command not found", True),
        ("cp: cannot stat 'x': No such file or directory", True),
        ("Failed to restart docker.service: Unit docker.service not found.", True),
        ("2025-12-01 10:00:00 ERROR boom", True),
        ("dpkg: error processing package docker.io (--configure):", True),
        ("Job for docker.service failed because the control process exited with error code.", True),
        ("curl: (6) Could not resolve host: download.docker.com", True),
        ("0 errors, error handling is on: fine", False),
        ("locale: Cannot set LC_CTYPE to default locale: No such file or directory", False),
        ("[INFO] Error: none", False),
        ("bash: warning: setlocale: cannot change locale (C): No such file or directory", False),
        ("dpkg-preconfigure: unable to re-open stdin: No such file or directory", False),
    ],
)
def test_provisioning_again_that_prints_an_error_and_exits_0_is_red(line: str, error: bool) -> None:
    said = replace(CREATED, output=f"phoenix: feature docker\n{line}\nphoenix: done\n")
    steps.provisioning_succeeded(said)
    with not_compliant("exited 0", line, "2>/dev/null") if error else nullcontext():
        steps.provisioning_succeeded_again(said)


def test_container_exists_where_it_is_stopped_or_absent_is_red() -> None:
    steps.container_exists(runtime("RUNNING\n"), 950, CREATED)
    of_target.container_is_running(runtime("RUNNING\n"), 950)
    with not_compliant("950", "stopped", "phoenix create"):
        steps.container_exists(runtime("STOPPED\n"), 950, CREATED)
    with not_compliant("950", "phoenix create"):
        steps.container_exists(runtime(ABSENT), 950, CREATED)
    frozen = "backup", "lxc-unfreeze -n 950"
    for status, *words in (("STOPPED\n", "stopped"), (ABSENT, "absent"), ("FROZEN\n", *frozen)):
        with naming(TransportError, "950", *words):
            of_target.container_is_running(runtime(status), 950)


def test_container_is_running_that_is_stopped_names_what_keeps_it_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Runtime, "state", lambda *_: "stopped")

    def judge(written: str | None) -> None:
        files = {"/etc/pve/lxc/950.conf": written, PROFILES: "lxc-phoenix-v2 (enforce)\n"}
        node = Machine(files, {ELSEWHERE: "", STATE: "STOPPED\n"} | QUORATE)
        of_target.container_is_running(Runtime(node), 950)

    with naming(TransportError, "container 950", "stopped", "lxc-other"):
        judge("lxc.apparmor.profile: lxc-other\n")
    with naming(TransportError, "container 950", "stopped", "pct start 950"):
        judge(None)  # a configuration that cannot be read: stopped it is all the same


def test_docker_is_installed_by_any_package_with_a_client() -> None:
    for package in ("docker.io", "docker-ce", "moby-engine"):
        steps.docker_is_installed(Host(packages={package: "26"}, programs=("docker",)))
    steps.docker_is_installed(Host(programs=("dockerd", "docker")))
    with not_compliant(NO_DOCKER):
        steps.docker_is_installed(Host(programs=("docker",)))
    with not_compliant("client"):
        steps.docker_is_installed(Host(packages={"docker.io": "26"}))


def test_nothing_changed_names_what_a_second_run_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"node: file /etc/a": "1", "node: file /var/x": "may differ"}
    monkeypatch.setattr(machine_state, "record_target", lambda runtime, ctid: dict(now))
    nobody: Any = None
    recorded = steps.state_is_recorded(nobody, 950)
    now["node: file /var/x"] = "differs"
    steps.nothing_changed(recorded, nobody, 950)
    now["node: file /etc/a"] = "2"
    with not_compliant("node: file /etc/a: 1 -> 2"):
        steps.nothing_changed(recorded, nobody, 950)


def test_container_is_restarted_is_shut_down_started_and_booted() -> None:
    done: list[str] = []
    inside = Machine({}, {BOOTED: "degraded\ndegraded\n"})
    found: Any = SimpleNamespace(
        shutdown=lambda ctid: done.append(f"shutdown {ctid}"),
        start=lambda ctid: done.append(f"start {ctid}"),
    )
    of_target.container_is_restarted(found, inside, 950)
    assert done == ["shutdown 950", "start 950"]
    assert inside.ran == [BOOTED]


@pytest.mark.parametrize("state", ["stopped", "running"])
def test_started_anew_that_does_not_start_is_red(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = CommandResult(("pct", "start", "950"), 1, b"", b"No space left", "pve1", 0.0, 0.0)

    def start(*_: object) -> None:
        raise CommandFailed(failed)

    monkeypatch.setattr(of_target.startable, "start", start)
    found: Any = SimpleNamespace(shutdown=lambda _: None, state=lambda _: state)
    with nullcontext() if state == "stopped" else pytest.raises(CommandFailed):
        refusal = of_target.started_anew(found, Machine({}, {}), 950, own_lab=False)
        with not_compliant("does not start again", "No space left"):
            of_target.has_started(refusal)
    of_target.has_started("")
