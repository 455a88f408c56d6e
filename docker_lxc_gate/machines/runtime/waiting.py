"""Waiting until a started machine has booted, or is online."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError, Unreachable
from docker_lxc_gate.machines.transport import Transport

#: How long a boot may take (seconds).
_BOOT = 180.0
#: Before systemd listens, systemctl fails at once. It is waited for in the container, because each
#: further look starts ``pct`` and slows the boot down.
_BOOTED = (
    "for _ in $(seq 50); do test ! -S /run/systemd/private || break; sleep 0.2; done; "
    "timeout 20 systemctl is-system-running --wait; exec systemctl is-system-running"
)
#: The pause between two looks (seconds).
_PAUSE = 0.5


def comes(
    is_there: Callable[[], bool],
    within: float,
    passes: Callable[[TransportError], bool] = lambda _: False,
) -> bool:
    """Ask until it is there; return False if it is not within so many seconds.

    An error that ``passes`` is waited out. The last one is raised at the end.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            if is_there():
                return True
        except TransportError as error:
            if time.monotonic() > deadline or not passes(error):
                raise
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)


def wait_until_booted(container: Transport) -> None:
    """Wait until systemd in the container has finished booting, with or without failed units.

    Raises TransportError if it did not in time, or its node cannot be reached any more.
    """
    state = ""

    def settled() -> bool:
        nonlocal state
        words = container.look(["sh", "-c", _BOOTED]).text.split()
        state = words[-1] if words else ""
        return state in {"running", "degraded"}

    if not comes(settled, _BOOT, lambda error: not isinstance(error, Unreachable)):
        raise TransportError(
            f"{container.machine} has not booted within {_BOOT:g} s: its systemd is in state "
            f"'{state}'"
        )


#: How long a node may take to shut down and boot under emulation (seconds), and what tells a boot.
_NODE_BOOT, _BOOT_ID = 600.0, "/proc/sys/kernel/random/boot_id"


def reboot(node: Transport) -> None:
    """Boot a machine once more, and wait until its systemd has finished; raises TransportError."""
    former = node.look(["cat", _BOOT_ID]).require().text
    with suppress(TransportError):  # it may go before it answers
        node.run(["systemctl", "reboot"])

    def booted() -> bool:
        return node.look(["cat", _BOOT_ID], timeout=20).text not in {former, ""}

    if not comes(booted, _NODE_BOOT, lambda _: True):
        raise TransportError(f"{node.machine} has not booted within {_NODE_BOOT:g} s")
    wait_until_booted(node)


#: How long DHCP may take after a boot (seconds).
_DHCP = 60.0


def wait_until_online(container: Transport) -> None:
    """Wait until the container has a default route; raises TransportError if it got none."""
    if not comes(lambda: _has_default_route(container), _DHCP):
        raise TransportError(
            f"{container.machine} has no default route within {_DHCP:g} s: is there DHCP on "
            "its bridge (bridge in the target file)?"
        )


def _has_default_route(container: Transport) -> bool:
    """Source: proc(5); in both files, the destination's bits are zero, and "lo" leads nowhere."""
    four = (container.read("/proc/net/route") or b"").splitlines()
    six = (container.read("/proc/net/ipv6_route") or b"").splitlines()
    return any(line.split()[1:2] == [b"00000000"] for line in four) or any(
        patterns.match(rb"0{32} 00 ", line) and not line.endswith(b" lo") for line in six
    )
