"""Starting and stopping a container for the plan, and leaving it as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from docker_lxc_gate.machines import files
from remediation.actions import container_options
from remediation.actions.container_options import OptionsState

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from remediation.engine.journal import Journal


def _before(journal: Journal) -> OptionsState | None:
    """Return the container's before-image, or None if the plan has not changed its options."""
    for entry in journal.entries():
        if entry.action == "container-options":
            before: OptionsState = journal.image(entry.before, OptionsState)
            return before
    return None


def stopped_by_rollback(runtime: Runtime, ctid: int, journal: Journal) -> bool:
    """Whether the container is stopped because a rollback left it as it was before the plan."""
    before = _before(journal)
    return before is not None and not before.running and runtime.state(ctid) == "stopped"


@contextmanager
def started(
    runtime: Runtime, ctid: int, journal: Journal, tell: Callable[[str], None]
) -> Iterator[None]:
    """Start a container that is stopped, and stop it again, unless it ran before the plan."""
    before = _before(journal)
    try:
        tell(f"starting container {ctid}")
        container_options.start(runtime, ctid)
        yield
    finally:
        if (before is None or not before.running) and runtime.state(ctid) == "running":
            tell(f"stopping container {ctid} again")
            shutdown(runtime, ctid)


def shutdown(runtime: Runtime, ctid: int) -> None:
    """Let a container end, and leave its file as it was: Proxmox writes it anew at every stop."""
    path = runtime.config_path(ctid)
    written = files.capture(runtime.node, path)
    runtime.shutdown(ctid)
    files.restore(runtime.node, path, written)
