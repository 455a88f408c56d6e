"""What an earlier ``apply`` has left on a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remediation import desired
from remediation.actions.storage_driver import DockerState
from remediation.engine.journal import Journal

if TYPE_CHECKING:
    from targets.transport import Transport


def is_on(node: Transport) -> bool:
    """Whether the node's own part of the plan, or of it the profile, is there already."""
    tunable, deployed = node.read(desired.TUNABLE_PATH), node.read(desired.PROFILE_PATH)
    return tunable == desired.TUNABLE or deployed == desired.profile(None)


def settings_before_and_after(node: Transport, ctid: int) -> tuple[bytes, bytes | None] | None:
    """Return Docker's settings as ``apply`` found and as it left them, empty where there were none.

    What it left is None where it did not come to its end; all is None where it changed nothing.

    Raises:
        FactError: the journal cannot be read.
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
