"""The node's log, watched from before the container's start to after its workload.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, then

from gate import evidence
from remediation import apparmor, audit
from remediation.lineage import Lineage
from steps.docker import cause, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remediation.runtime import Runtime
    from remediation.target import Target
    from remediation.transport import Transport
    from steps.docker import DockerRun

#: What a program says that was refused something; else it did not run for another reason.
_REFUSED = re.compile(r"permission denied|not permitted", re.IGNORECASE)


@pytest.fixture
def lineage(node: Transport, may_change: bool) -> Iterator[Lineage | None]:
    """Who starts whom while the log is watched; where nothing is started, nobody is noted."""
    noted = Lineage(node) if may_change else None
    yield noted
    if noted:
        noted.parents()


@given("AppArmor's log is watched", target_fixture="window")
def log_is_watched(
    node: Transport,
    target: Target,
    lineage: Lineage | None,  # noqa: ARG001 - from here on
    request: pytest.FixtureRequest,
) -> audit.Window:
    """Find out where denials go, and hear them from now on."""
    window = audit.Window(node, target.audit)
    request.addfinalizer(window.end)
    return window


@then("the log was watched to its end, and AppArmor denied the container nothing")
def nothing_was_denied(
    window: audit.Window,
    runtime: Runtime,
    ctid: int,
    docker_run: DockerRun,
    lineage: Lineage | None,
) -> None:
    """The canary proves the watching; each denial is attributed before it is counted.

    What was refused without a record was refused, too: by a quiet deny, as far as anybody can say.
    """
    denials = window.close()
    profiles = _profiles(runtime, ctid) if denials else {}
    parents = lineage.parents() if lineage else {}
    owners = [(d, audit.attribute(runtime.node, d, profiles, parents)) for d in denials]
    ours = [denial for denial, owner in owners if owner == ctid]
    assert not ours, (
        f"AppArmor denied container {ctid} {len(ours)} time(s): {ours[0].summary}; "
        f"to allow it: {audit.smallest_rule(ours[0])}"
    )
    unknown = [denial for denial, owner in owners if owner is None and _might_be_ours(denial)]
    if unknown:
        raise audit.Unwatched(
            f"{len(unknown)} denial(s) cannot be attributed: {unknown[0].summary}; more than one "
            "container runs under that profile and the process is gone"
        )
    told = "" if docker_run.result.ok else said(docker_run.result)
    assert not _REFUSED.search(told), (
        f"hello-world was refused without a record: {cause(told)}; a quiet 'deny' of the profile "
        "does that, and 'audit deny' would say what"
    )
    others = sorted({owner or 0 for _, owner in owners} - {0})
    whose = (
        f"; {len(denials)} of others ({', '.join(map(str, others)) or 'the node'})"
        if denials
        else ""
    )
    evidence.say(f"{window.source}: canary seen, none lost, no denial{whose}")


def _might_be_ours(denial: audit.Denial) -> bool:
    """A container's profile is named lxc-*: LXC can enter no other."""
    return denial.profile.startswith("lxc-")


def _profiles(runtime: Runtime, ctid: int) -> dict[int, str]:
    """Return the profile of each running container of the node, by ctid.

    The container asked about counts even if it runs no more: its denials are not a neighbour's.
    """
    listing = runtime.node.run(["lxc-ls", "-P", "/var/lib/lxc", "--running", "-1"]).require()
    ctids = [int(name) for name in listing.text.split() if re.fullmatch("[0-9]+", name)]
    labels = {each: apparmor.label(runtime.node, runtime.init_pid(each)) for each in ctids}
    profiles = {each: label.removesuffix(" (enforce)") for each, label in labels.items()}
    assigned = runtime.configuration(ctid).current().get("lxc.apparmor.profile", "")
    return {ctid: assigned} | profiles
