"""The node's log, watched from before the container's start until after its workload.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, then

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts.audit import audit_records, audit_window
from docker_lxc_gate.facts.denial.denial_answers import smallest_rule
from docker_lxc_gate.facts.denial.denial_log import attribute, named_container, number
from docker_lxc_gate.facts.process_tree import ProcessNotes, ProcessWatch
from docker_lxc_gate.facts.startable import STARTER
from docker_lxc_gate.formats import id_map
from docker_lxc_gate.verdict import evidence
from steps.docker import DockerRun, cause, output

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport

#: Messages of a program that was refused something.
_REFUSED = patterns.compile(r"(?i)permission denied|not permitted")
#: The result of a complete window, for a reader.
SEEN = "canary seen, none lost"


@pytest.fixture
def process_watch(node: Transport, may_change: bool) -> Iterator[ProcessWatch | None]:
    """The notes on processes while the log is watched; None in a read-only run."""
    watch = ProcessWatch(node) if may_change else None
    yield watch
    if watch:
        watch.notes()


@given("AppArmor's log is watched", target_fixture="window")
def log_is_watched(
    runtime: Runtime,
    ctid: int,
    process_watch: ProcessWatch | None,  # noqa: ARG001 - starts the notes
    request: pytest.FixtureRequest,
) -> audit_window.Window:
    """Open a window on the kernel's records."""
    window = audit_window.Window(runtime.node, subject(runtime, ctid))
    request.addfinalizer(window.end)
    return window


def subject(runtime: Runtime, ctid: int) -> audit_window.Subject:
    """Return the ids and the profile of the container's processes, as of its last start."""
    try:
        started = runtime.effective(ctid)
    except RemediationError:
        return audit_window.Subject()  # never started, or absent: it may have any id
    maps = [id_map.written(option.value) for option in started.all("lxc.idmap")]
    profile = started.current().get("lxc.apparmor.profile", "")
    named = profile if profile.startswith("lxc-") else ""
    ranges = [(kind, entry.outside, entry.count) for kind, entry in filter(None, maps)]
    return audit_window.Subject(named, frozenset(ranges if all(maps) else ()))


@then("the log was watched to its end, and AppArmor denied the container nothing")
def nothing_was_denied(
    window: audit_window.Window,
    ctid: int,
    docker_run: DockerRun,
    process_watch: ProcessWatch | None,
) -> None:
    """The canary proves that the log was watched; each denial is attributed before it counts.

    A refusal without a record is red, too: most likely a quiet deny of the profile.
    """
    doubt = None
    try:
        denials = window.close()
    except audit_window.Unwatched as error:
        denials, doubt = list(error.denials), error
    notes = process_watch.notes() if process_watch and denials else ProcessNotes()
    owners = list(zip(denials, attribute(denials, notes), strict=True))
    ours = [denial for denial, owner in owners if owner == ctid]
    assert not ours, (
        f"AppArmor denied container {ctid} {len(ours)} time(s): {ours[0].summary}; "
        f"to allow it: {smallest_rule(ours[0])}"
        f"{f'; besides, {doubt}' if doubt else ''}"
    )
    if doubt:
        raise doubt
    nobodys = [denial for denial, owner in owners if owner is None]
    unknown = [denial for denial in nobodys if _might_be_of(ctid, denial, notes)]
    if unknown:
        raise audit_window.Unwatched(
            f"{len(unknown)} denial(s) cannot be attributed: {unknown[0].summary}; "
            f"{_why_nobodys(unknown[0], notes)}"
        )
    told = "" if docker_run.result.ok else output(docker_run.result)
    assert not _REFUSED.search(told), (
        f"hello-world was refused without a record: {cause(told)}; a quiet 'deny' of the profile "
        "does that: make it 'audit deny' to see what it refuses"
    )
    others = sorted({str(name) for d, owner in owners if (name := owner or named_container(d))})
    whose = f"; {len(denials)} of others ({', '.join(others) or 'the node'})" if denials else ""
    evidence.say(f"{SEEN}, no denial{whose}")


def _why_nobodys(denial: audit_records.Denial, notes: ProcessNotes) -> str:
    if notes.lost:
        return f"{notes.lost}, so it may be of any container under that profile"
    if len(notes.containers.get(number(denial.fields.get("pid", "")), ())) > 1:
        return "several processes had the same pid, not all of one container"
    return (
        "its process was seen in no container: a user of the node can start one under any profile, "
        "and a command that the node runs in a container may end too soon to be seen there"
    )


def _might_be_of(ctid: int, denial: audit_records.Denial, notes: ProcessNotes) -> bool:
    """Whether a denial of nobody may be the container's: LXC enters lxc-*, or its own namespace.

    A record without a profile may be anybody's, and one of lxc-start's may be of a hook, unless the
    notes are whole.
    """
    named = named_container(denial)
    if denial.profile == STARTER and notes.lost:
        return True
    return named == str(ctid) if named else (denial.profile or "lxc-").startswith("lxc-")
