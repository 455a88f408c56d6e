"""Opening a target, for all commands. This is the only module here that knows the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.lock import held_by
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL
from remediation.cli import printing
from remediation.engine.journal import stored

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target


def opened(aim: Target) -> AbstractContextManager[Runtime]:
    """Return the context of a connection to a target's node; see ``connect.opened``."""
    # The lock first: a run that ends in between has then written its last line.
    return connect.opened(
        aim, lab=lab_address, tell=printing.tell, reads=[held_by(), stored(), IN_CONTROL]
    )
