"""Traces of an earlier ``apply`` on a node."""

from __future__ import annotations

from docker_lxc_gate import foreign
from docker_lxc_gate.machines.transport import Transport
from remediation import desired
from remediation.actions.storage_driver import DockerState
from remediation.engine.journal import Journal


@foreign.parser()
def is_on(node: Transport) -> bool:
    """Whether the plan's tunable or profile is on the node already."""
    if node.read(desired.TUNABLE_PATH) == desired.TUNABLE:
        return True
    return node.read(desired.PROFILE_PATH) == desired.profile(None)


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
