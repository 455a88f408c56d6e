"""Whose a denial is decides the verdict: ours is red, a neighbour's is not, nobody's is neither."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from facts import audit_records, audit_window
from facts.canary import Subject
from facts.process_tree import Noted
from gate import evidence
from steps import audit as steps
from steps import prerequisites
from steps.docker import DockerRun
from targets.transport import CommandResult
from tests.doubles.canned import Machine, Runtime

OURS = "lxc-phoenix-v2"


def denial(profile: str = OURS, more: str = "") -> audit_records.Denial:
    (found,) = audit_records.parse(
        f'apparmor="DENIED" operation="mount" profile="{profile}" name="/x" fstype="fuse" {more}'
    )
    return found


def node(conf: str = f"lxc.apparmor.profile: {OURS}") -> Machine:
    return Machine({"/etc/pve/lxc/950.conf": conf})


RAN = CommandResult(("docker", "run"), 0, b"Hello from Docker!", b"", "container 950", 0.0, 1.0)
#: Process 7 was of the neighbour, which ran under the profile, too.
SHARED = Noted(
    True,
    {},
    {7: frozenset({"951"}), 8: frozenset({"950"})},
    {"950": frozenset({OURS}), "951": frozenset({OURS})},
)
SHARED_AND_ANOTHER = replace(
    SHARED, profiles={**SHARED.profiles, "952": frozenset({"lxc-another"})}
)
ALONE = Noted(True, {}, {}, {"950": frozenset({OURS}), "951": frozenset({"lxc-another"})})


def judge(
    *denials: audit_records.Denial,
    on: Machine | None = None,
    ran: CommandResult = RAN,
    noted: Noted = ALONE,
    doubt: str = "",
    unheard: str = "",
) -> str:
    def close() -> list[audit_records.Denial]:
        if doubt:
            raise audit_window.Unwatched(doubt, denials)
        return list(denials)

    window: Any = SimpleNamespace(close=close, source="auditd", unheard=unheard)
    lineage: Any = SimpleNamespace(noted=lambda: noted)
    evidence.drain()
    steps.nothing_was_denied(window, Runtime(on or node()), 950, DockerRun("gate-1", ran), lineage)
    (line,) = evidence.drain().lines
    return line


def test_a_quiet_window() -> None:
    assert judge(on=Machine()) == "auditd: canary seen, none lost, no denial"


def test_a_window_that_was_watched_by_the_log_alone_says_so() -> None:
    said = judge(on=Machine(), unheard="no perl on pve1")
    assert said.endswith(
        "none lost; the kernel's own records could not be read: no perl on pve1, no denial"
    )


def test_ours() -> None:
    with pytest.raises(AssertionError, match=r"denied container 950 1 time\(s\): .*to allow it"):
        judge(denial(), denial("lxc-another"))
    with pytest.raises(AssertionError, match=r"denied container 950 2 time\(s\)"):
        judge(denial("lxc-950_</var/lib/lxc>"), denial())
    with pytest.raises(AssertionError, match=r"denied container 950 1 time\(s\)"):
        judge(denial(more="pid=7"), denial(more="pid=8"), noted=SHARED)


def test_ours_in_a_window_that_was_not_watched_is_red_all_the_same_and_the_doubt_is_said() -> None:
    with pytest.raises(AssertionError, match=r"denied container 950 .*; besides, it was cut$"):
        judge(denial(), doubt="it was cut")


def test_a_doubt_is_undetermined_if_only_others_were_denied_something() -> None:
    for denials in ((), (denial(more="pid=7"),), (denial(),)):
        with pytest.raises(audit_window.Unwatched, match=r"^it was cut$"):
            judge(*denials, noted=SHARED, doubt="it was cut")


def test_anothers() -> None:
    said = judge(denial("lxc-another"), denial(more="pid=7"), noted=SHARED_AND_ANOTHER)
    assert said.endswith("no denial; 2 of others (951, 952)")
    assert judge(denial("/usr/bin/man")).endswith("no denial; 1 of others (the node)")


def test_nobodys() -> None:
    with pytest.raises(
        audit_window.Unwatched, match=r"1 denial\(s\) cannot be attributed: .*lxc-third"
    ):
        judge(denial("lxc-third"), denial("/usr/bin/man"))
    with pytest.raises(audit_window.Unwatched, match=r"containers 950, 951 ran under that profile"):
        judge(denial(), noted=SHARED)
    with pytest.raises(audit_window.Unwatched, match="its container was not noted"):
        judge(denial(), noted=Noted())


STARTED = """lxc.apparmor.profile = {}
lxc.idmap = g 0 100001 65536
lxc.idmap = u 1000 1000 1
lxc.idmap = u 0 100000 1000
"""
RANGES = frozenset({("g", 100001, 65536), ("u", 1000, 1), ("u", 100000, 1000)})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (STARTED.format(OURS), Subject(100000, 100001, OURS, RANGES)),
        (STARTED.format("generated"), Subject(100000, 100001, "", RANGES)),
        ("lxc.apparmor.profile = lxc-x\n", Subject(profile="lxc-x")),
        (None, Subject()),
    ],
)
def test_subject_is_who_the_containers_root_is_on_the_node(
    config: str | None, expected: Subject
) -> None:
    runtime = Runtime(Machine({"/var/lib/lxc/950/config": config}))
    assert steps.subject(runtime, 950) == expected


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
    def close() -> list[audit_records.Denial]:
        raise audit_window.Unwatched("the canary is not there")

    window: Any = SimpleNamespace(close=close, source="auditd", unheard="")
    with pytest.raises(audit_window.Unwatched, match="the canary is not there"):
        prerequisites.canary_shows(window)


def test_a_watch_ends_with_its_scenario_whatever_becomes_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window, finalizers, asked = SimpleNamespace(end=lambda: None), list[object](), list[object]()

    def opened(*args: object) -> object:
        asked.extend(args)
        return window

    monkeypatch.setattr(audit_window, "Window", opened)
    request: Any = SimpleNamespace(addfinalizer=finalizers.append)
    target: Any = SimpleNamespace(audit="auto")
    runtime = Runtime(Machine({"/var/lib/lxc/950/config": STARTED.format(OURS)}))
    assert steps.log_is_watched(runtime, 950, target, None, request) is window
    assert asked == [runtime.node, "auto", Subject(100000, 100001, OURS, RANGES)]
    assert finalizers == [window.end]
