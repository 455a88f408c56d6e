"""Traces of an earlier ``apply`` on a node."""

from __future__ import annotations

from docker_lxc_gate import foreign
from docker_lxc_gate.machines.read import content_of
from docker_lxc_gate.machines.transport import Transport
from remediation import desired
from remediation.actions.storage_driver import DockerState
from remediation.engine.journal import Journal

#: What :func:`is_on` asks.
READS = (content_of(desired.TUNABLE_PATH), content_of(desired.PROFILE_PATH))


@foreign.parser()
def is_on(node: Transport) -> bool:
    """Whether the plan's tunable or profile is on the node already."""
    tunable, deployed = map(node.ask, READS)
    return tunable == desired.TUNABLE or deployed == desired.profile(None)


@foreign.parser(..., 950)
def settings_before_and_after(node: Transport, ctid: int) -> tuple[bytes, bytes | None] | None:
    """Return Docker's settings before and after ``apply``; empty if the file was absent.

    The second is None if ``apply`` was cut off. The result is None if ``apply`` changed nothing.

    Raises FactError if the journal cannot be read.
    """
    journal = Journal(node, ctid)
    for entry in journal.entries():
        if entry.action == "docker-storage-driver":
            before, after = entry.before, entry.images[-1].after
            return (
                journal.image(before, DockerState).settings.content,
                None if after is None else journal.image(after, DockerState).settings.content,
            )
    return None
