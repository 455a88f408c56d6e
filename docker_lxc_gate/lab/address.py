"""The address of the lab's node, for the programs that open targets."""

from __future__ import annotations

from collections.abc import Callable

from docker_lxc_gate.machines.ssh.address import SshAddress


def lab_address(tell: Callable[[str], None]) -> SshAddress:
    """Return the address of the lab's node, for :func:`docker_lxc_gate.machines.connect.opened`.

    This starts the lab if it is not running. A running lab stays as it is, even if this checkout
    has changed since. ``tell`` gets one line before each long operation. Raises LabError if the lab
    could not be built or started.
    """
    # Imported here: a real host needs none of the lab's libraries.
    from docker_lxc_gate.lab.machine import Lab  # noqa: PLC0415
    from docker_lxc_gate.lab.progress import told_to  # noqa: PLC0415

    lab = Lab.open(steps=told_to(tell))
    lab.up(keep=True)
    return lab.node.address
