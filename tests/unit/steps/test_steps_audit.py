"""Whose a denial is decides the verdict: ours is red, a neighbour's is not, nobody's is neither."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.facts.audit import audit_records, audit_window
from docker_lxc_gate.facts.audit.audit_window import Subject
from docker_lxc_gate.facts.process_tree import ProcessNotes
from docker_lxc_gate.facts.startable import STARTER
from docker_lxc_gate.machines.result import CommandResult
from steps import audit as steps
from steps.docker import DockerRun
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import lines_of, naming, not_compliant

OURS = "lxc-phoenix-v2"


def denial(profile: str = OURS, more: str = "pid=8") -> audit_records.Denial:
    (found,) = audit_records.parse(
        f'apparmor="DENIED" operation="mount" profile="{profile}" name="/x" fstype="fuse" '
        f'flags="rw" {more}'
    )
    return found


CUT = 'apparmor="DENIED" operation="setprocattr" info="current" error=-22 pid=10 comm="x"'
STACK = f'{CUT} label="lxc-950_</var/lib/lxc>//&:lxc-950_<-var-lib-lxc>:unconfined"'
RAN = CommandResult(("docker", "run"), 0, b"Hello from Docker!", b"", "container 950", 0.0, 1.0)
#: Process 7 was of the neighbour, which ran under the profile, too; process 10 was of the node.
NOTES = ProcessNotes("", {7: frozenset({"951"}), 8: frozenset({"950"}), 9: frozenset({"950", "?"})})


def judge(
    *denials: audit_records.Denial,
    ran: CommandResult = RAN,
    notes: ProcessNotes = NOTES,
    doubt: str = "",
) -> str:
    def close() -> list[audit_records.Denial]:
        if doubt:
            raise audit_window.Unwatched(doubt, denials)
        return list(denials)

    window: Any = SimpleNamespace(close=close)
    process_watch: Any = SimpleNamespace(notes=lambda: notes)
    given = (window, 950, DockerRun("gate-1", ran), process_watch)
    (line,) = lines_of(steps.nothing_was_denied, *given)
    return line


def test_nothing_was_denied_where_the_container_was_names_the_smallest_rule() -> None:
    with not_compliant("container 950 1 time", "mount options=(rw) fstype=fuse -> /x,"):
        judge(denial(), denial("/usr/bin/man", "pid=10"))
    with not_compliant("container 950 2 time"):
        judge(denial("lxc-950_</var/lib/lxc>"), denial())
    with not_compliant("container 950 1 time", "it was cut"):  # despite a doubt
        judge(denial(more="pid=7"), denial(), doubt="it was cut")


def test_nothing_was_denied_with_a_doubt_and_others_denials_is_undetermined() -> None:
    for denials in ((), (denial(more="pid=7"),), (denial(more="pid=10"),)):
        with pytest.raises(audit_window.Unwatched) as raised:
            judge(*denials, doubt="it was cut")
        assert str(raised.value) == "it was cut"


def test_nothing_was_denied_but_to_others_is_green_and_names_them() -> None:
    assert judge() == "canary seen, none lost, no denial"
    said = judge(denial("lxc-952_</x>"), denial(more="pid=7"))
    assert said.endswith("no denial; 2 of others (951, 952)")
    assert judge(denial("/usr/bin/man", "pid=10")).endswith("no denial; 1 of others (the node)")


def test_nothing_was_denied_that_can_be_attributed_is_undetermined() -> None:
    with naming(audit_window.Unwatched, "1 denial", "lxc-third"):
        judge(denial("lxc-third", "pid=10"), denial("/usr/bin/man", "pid=10"))
    with naming(audit_window.Unwatched, "a user of the node"):
        judge(denial(more="pid=10"))
    with naming(audit_window.Unwatched, "a user of the node"):
        judge(denial("lxc-950_</var/lib/lxc>", "pid=10"))
    with naming(audit_window.Unwatched, "a user of the node"):
        judge(denial("docker-default", 'namespace="root//lxc-950_<-var-lib-lxc>" pid=10'))
    for record in (CUT, STACK):  # names no profile, or several
        with naming(audit_window.Unwatched, "a user of the node", "setprocattr"):
            judge(*audit_records.parse(record))
    with naming(audit_window.Unwatched, "the same pid"):
        judge(denial(more="pid=9"))
    with naming(audit_window.Unwatched, OURS):
        judge(denial(), notes=ProcessNotes())


@pytest.mark.parametrize("ours", [7, 8, 9])
def test_nothing_was_denied_with_notes_that_are_not_whole_is_undetermined(ours: int) -> None:
    """Whatever they say: the pid may have passed from one container to another."""
    unsure = replace(NOTES, lost="more than 200000 processes started")
    with naming(audit_window.Unwatched, "1 denial", "more than 200000 processes started"):
        judge(denial(more=f"pid={ours}"), notes=unsure)
    with not_compliant("container 950 1 time"):  # a generated profile names its container
        judge(denial("lxc-950_</var/lib/lxc>"), denial(), notes=unsure)
    with not_compliant("container 950 1 time", "lxc-950_"):
        judge(*audit_records.parse(STACK), notes=unsure)
    assert judge(denial("/usr/bin/man", "pid=10"), notes=unsure).endswith("1 of others (the node)")


def test_nothing_was_denied_but_a_hook_of_lxc_start_is_of_the_container_that_it_starts() -> None:
    with not_compliant("container 950 1 time"):
        judge(denial(STARTER, "pid=8"))
    assert judge(denial(STARTER, "pid=7")).endswith("1 of others (951)")
    assert judge(denial(STARTER, "pid=10")).endswith("1 of others (the node)")
    with naming(audit_window.Unwatched, "more than 200000 processes started"):
        judge(denial(STARTER), notes=replace(NOTES, lost="more than 200000 processes started"))


STARTED = """lxc.apparmor.profile = {}
lxc.idmap = g 0 100001 65536
lxc.idmap = u 1000 1000 1
lxc.idmap = u 0 100000 1000
"""
RANGES = frozenset({("g", 100001, 65536), ("u", 1000, 1), ("u", 100000, 1000)})


def test_subject_of_a_container_is_its_root() -> None:
    for config, expected in (
        (STARTED.format(OURS), Subject(OURS, RANGES)),
        (STARTED.format("generated"), Subject("", RANGES)),
        (None, Subject()),
    ):
        runtime = Runtime(Machine({"/var/lib/lxc/950/config": config}))
        assert steps.subject(runtime, 950) == expected


def test_nothing_was_denied_where_docker_was_refused_without_a_record_is_red() -> None:
    refused = replace(
        RAN, exit_code=126, stdout=b"", stderr=b"open /proc/x: permission denied: unknown\n"
    )
    with not_compliant("without a record", "open /proc/x: permission denied"):
        judge(ran=refused)
    with not_compliant("container 950 1 time"):  # on record: that one
        judge(denial(), ran=refused)
    judge(ran=replace(refused, stderr=b"no space left on device"))
    judge(ran=replace(RAN, stderr=b"warning: x: permission denied\n"))  # it ran
