"""Whose a denial is decides the verdict: ours is red, a neighbour's is not, nobody's is neither."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gate import evidence
from remediation import audit
from remediation.transport import CommandResult
from steps import audit as steps
from steps import prerequisites
from steps.docker import DockerRun
from tests.steps.doubles import Machine, Runtime

LS = "lxc-ls -P /var/lib/lxc --running -1"
INFO = "lxc-info -P /var/lib/lxc -n {} -p -H"
OURS = "lxc-phoenix-v2"


def denial(profile: str = OURS, more: str = "") -> audit.Denial:
    (found,) = audit.parse(
        f'apparmor="DENIED" operation="mount" profile="{profile}" name="/x" fstype="fuse" {more}'
    )
    return found


def node(
    running: str = "950\n951\nother\n", conf: str = f"lxc.apparmor.profile: {OURS}"
) -> Machine:
    return Machine(
        {
            "/etc/pve/lxc/950.conf": conf,
            "/proc/9500/attr/apparmor/current": f"{OURS} (enforce)\n",
            "/proc/9510/attr/apparmor/current": "lxc-another (enforce)\n",
            "/proc/7/cgroup": "0::/lxc/951/ns\n",
        },
        {LS: running, INFO.format(950): "9500", INFO.format(951): "9510"},
    )


RAN = CommandResult(("docker", "run"), 0, b"Hello from Docker!", b"", "container 950", 0.0, 1.0)


def judge(
    *denials: audit.Denial,
    on: Machine | None = None,
    ran: CommandResult = RAN,
    parents: dict[int, int] | None = None,
) -> str:
    window: Any = SimpleNamespace(close=lambda: list(denials), source="auditd")
    lineage: Any = parents and SimpleNamespace(parents=lambda: parents)
    evidence.drain()
    steps.nothing_was_denied(window, Runtime(on or node()), 950, DockerRun("gate-1", ran), lineage)
    (line,) = evidence.drain().lines
    return line


def test_a_quiet_window() -> None:
    assert judge(on=Machine()) == "auditd: canary seen, none lost, no denial"


@pytest.mark.parametrize("running", ["950\n951\n", "951\n"])
def test_ours(running: str) -> None:
    with pytest.raises(AssertionError, match=r"denied container 950 1 time\(s\): .*to allow it"):
        judge(denial(), denial("lxc-another"), on=node(running))
    with pytest.raises(AssertionError, match=r"denied container 950 2 time\(s\)"):
        judge(denial("lxc-950_</var/lib/lxc>"), denial(), on=node(running))


def test_ours_if_neither_it_nor_the_container_has_a_profile() -> None:
    with pytest.raises(AssertionError, match=r"denied container 950 1 time\(s\)"):
        judge(denial(""), on=node("951\n", conf="arch: amd64\n"))


def test_anothers() -> None:
    said = judge(denial("lxc-another"), denial(more="pid=7"))
    assert said.endswith("no denial; 2 of others (951)")
    assert judge(denial("/usr/bin/man")).endswith("no denial; 1 of others (the node)")


def test_nobodys() -> None:
    with pytest.raises(audit.Unwatched, match=r"1 denial\(s\) cannot be attributed: .*lxc-third"):
        judge(denial("lxc-third"), denial("/usr/bin/man"))
    shared = node()
    shared.files["/proc/9510/attr/apparmor/current"] = f"{OURS} (enforce)"
    with pytest.raises(audit.Unwatched, match="cannot be attributed"):
        judge(denial(), on=shared)


def test_containers_that_cannot_be_listed() -> None:
    blind = node()
    blind.answers[LS] = (1, "", "lxc-ls: no")
    with pytest.raises(audit.RemediationError, match="lxc-ls: no"):
        judge(denial(), on=blind)


@pytest.mark.parametrize(("ancestor", "ours"), [(70, True), (71, False)])
def test_a_process_that_is_gone_is_its_ancestors(ancestor: int, ours: bool) -> None:
    shared = node()
    shared.files |= {
        "/proc/9510/attr/apparmor/current": f"{OURS} (enforce)\n",
        "/proc/8/cgroup": None,
        "/proc/70/cgroup": "0::/lxc/950/ns\n",
        "/proc/71/cgroup": "0::/lxc/951/ns\n",
    }
    gone = denial(more="pid=8")
    if ours:
        with pytest.raises(AssertionError, match="denied container 950 1 time"):
            judge(gone, on=shared, parents={8: ancestor})
    else:
        assert judge(gone, on=shared, parents={8: ancestor}).endswith("1 of others (951)")


def test_what_was_refused_without_a_record() -> None:
    refused = replace(
        RAN, exit_code=126, stdout=b"", stderr=b"open /proc/x: permission denied: unknown\n"
    )
    with pytest.raises(AssertionError, match="was refused without a record: open /proc/x: perm"):
        judge(on=Machine(), ran=refused)
    with pytest.raises(AssertionError, match="denied container 950 1 time"):  # on record: that one
        judge(denial(), ran=refused)
    judge(on=Machine(), ran=replace(refused, stderr=b"no space left on device"))
    judge(on=Machine(), ran=replace(RAN, stderr=b"warning: x: permission denied\n"))  # it ran


def test_the_canary_alone() -> None:
    def close() -> list[audit.Denial]:
        raise audit.Unwatched("the canary is not there")

    window: Any = SimpleNamespace(close=close, source="auditd")
    with pytest.raises(audit.Unwatched, match="the canary is not there"):
        prerequisites.canary_shows(window)


def test_a_watch_ends_with_its_scenario_whatever_becomes_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window, finalizers = SimpleNamespace(end=lambda: None), list[object]()
    monkeypatch.setattr(audit, "Window", lambda *_: window)
    request: Any = SimpleNamespace(addfinalizer=finalizers.append)
    target: Any = SimpleNamespace(audit="auto")
    assert steps.log_is_watched(Machine(), target, None, request) is window
    assert finalizers == [window.end]
