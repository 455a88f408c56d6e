"""Opening a target, for all commands. This is the only module here that knows the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.commandline.output import SCREEN
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.lock import held_by
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL
from docker_lxc_gate.printable import command
from remediation.cli import printing
from remediation.engine.journal import stored

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target


def opened(aim: Target) -> AbstractContextManager[Runtime]:
    """Return the context of a connection to a target's node; see ``connect.opened``."""
    # The lock first: a run that ends in between has then written its last line.
    reads = [held_by(), stored(), IN_CONTROL]
    return connect.opened(aim, lab=lab_address, listener=_show, tell=printing.tell, reads=reads)


def _show(result: CommandResult) -> None:
    """Print a command that was run, if --verbose was given."""
    if SCREEN.verbose:
        ended = f"ended with {result.exit_code} after {result.seconds:.1f} s"
        printing.tell(f"{result.machine}: {command(result.argv)} {ended}")
