"""How the commands open a target; as a program they know the lab, and nothing else here may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.address import lab_address
from remediation.cli import printing
from remediation.engine.journal import stored
from targets import connect

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from targets.runtime.base import Runtime
    from targets.target import Target


def opened(aim: Target) -> AbstractContextManager[Runtime]:
    """Return the context in which a target's node is connected to; see ``connect.opened``."""
    return connect.opened(aim, lab=lab_address, tell=printing.tell, reads=[stored()])
