"""Where the lab's node answers, for the programs that open targets and stand above both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.ssh.address import SshAddress


def lab_address(tell: Callable[[str], None]) -> SshAddress:
    """Return the address of the lab's node, as :func:`targets.connect.opened` asks for it.

    The lab is started if it is not running. A running one is left as it is, whatever has changed
    in this checkout since it was made.

    Args:
        tell: hears one line before anything that takes time.

    Raises:
        LabError: the lab could not be built or started.
    """
    # Imported here: a real host needs none of the lab's libraries.
    from lab.machine import Lab  # noqa: PLC0415
    from lab.progress import told_to  # noqa: PLC0415

    lab = Lab.open(steps=told_to(tell))
    lab.up(keep=True)
    return lab.address
