"""Traces of an earlier ``apply`` on a node, and which plan they mean."""

from __future__ import annotations

from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.machines.read import is_directory
from docker_lxc_gate.machines.target import DEFAULT_PLAN, Target
from docker_lxc_gate.machines.transport import Transport
from remediation import desired, plan_file
from remediation.actions.storage_driver import DockerState
from remediation.engine.journal import Journal


def is_on(node: Transport) -> bool:
    """Whether the plan's tunable or profile is on the node already."""
    if node.read(desired.TUNABLE_PATH) == desired.TUNABLE:
        return True
    return node.read(desired.PROFILE_PATH) == desired.profile()


def plan_of(node: Transport, target: Target) -> tuple[str, str]:
    """Return the plan that counts for a target that names none, and why.

    Raises FactError if the journal cannot be read, or names a plan whose file is not known.
    """
    if entries := Journal(node, target.ctid).entries():
        last = max((entry.images[-1] for entry in entries), key=lambda image: image.line)
        name = last.plan.partition(" ")[0] or DEFAULT_PLAN
        try:
            plan_file.find(name)
        except UsageError as error:
            raise FactError(
                f"the journal of {node.machine} says that the plan {name!r} was applied to "
                f"container {target.ctid}: name its file (--plan FILE), or another plan"
            ) from error
        return name, "the journal says that it was applied"
    if node.ask(is_directory(target.repository)):
        return DEFAULT_PLAN, f"its checkout is on the node, {target.repository}"
    if node.read(desired.PROFILE_PATH) is not None:
        return DEFAULT_PLAN, f"its profile is on the node, {desired.PROFILE_PATH}"
    return "plain", "nothing of another plan is on the node"


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
