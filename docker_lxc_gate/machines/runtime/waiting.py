"""Waiting until a started machine has booted, or is online."""

from __future__ import annotations

import time
from contextlib import suppress

import stamina

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError, Unreachable
from docker_lxc_gate.machines.transport import Transport

stamina.instrumentation.set_on_retry_hooks([])  # do not log each retry


class _NotYet(Exception):
    """The container is not as it is awaited, and the text says how it is."""


def _may_come(error: Exception) -> bool:
    """Whether to retry: not if the node itself is unreachable."""
    return isinstance(error, _NotYet | TransportError) and not isinstance(error, Unreachable)


#: How long a boot may take (seconds).
_BOOT = 180.0
#: Before systemd listens, systemctl fails at once. It is waited for in the container, because each
#: further look starts ``pct`` and slows the boot down.
_BOOTED = (
    "for _ in $(seq 50); do test ! -S /run/systemd/private || break; sleep 0.2; done; "
    "timeout 20 systemctl is-system-running --wait; exec systemctl is-system-running"
)


def wait_until_booted(container: Transport) -> None:
    """Wait until systemd in the container has finished booting, with or without failed units.

    Raises TransportError if it did not in time, or its node cannot be reached any more.
    """

    @stamina.retry(on=_may_come, timeout=_BOOT, attempts=None, wait_max=2.0)
    def settled() -> None:
        words = container.look(["sh", "-c", _BOOTED]).text.split()
        state = words[-1] if words else ""
        if state not in {"running", "degraded"}:
            raise _NotYet(state)

    try:
        settled()
    except _NotYet as error:
        raise TransportError(
            f"{container.machine} has not booted within {_BOOT:g} s: its systemd is in state "
            f"'{error}'"
        ) from error


#: How long a node may take to shut down and boot under emulation (seconds), and what tells a boot.
_NODE_BOOT, _BOOT_ID = 600.0, "/proc/sys/kernel/random/boot_id"


def reboot(node: Transport) -> None:
    """Boot a machine once more, and wait until its systemd has finished; raises TransportError."""
    former = node.look(["cat", _BOOT_ID]).require().text
    with suppress(TransportError):  # it may go before it answers
        node.run(["systemctl", "reboot"])

    @stamina.retry(on=(_NotYet, TransportError), timeout=_NODE_BOOT, attempts=None, wait_max=5.0)
    def booted() -> None:
        if node.look(["cat", _BOOT_ID], timeout=20).text in {former, ""}:
            raise _NotYet("shutting down")

    try:
        booted()
    except _NotYet as error:
        raise TransportError(f"{node.machine} has not booted within {_NODE_BOOT:g} s") from error
    wait_until_booted(node)


def wait_until_online(container: Transport, *, patience: float = 60.0) -> None:
    """Wait until the container has a default route: DHCP may take longer than booting.

    Raises TransportError if it got none within ``patience`` (seconds).
    """
    deadline = time.monotonic() + patience
    while not _has_default_route(container):
        if time.monotonic() > deadline:
            raise TransportError(
                f"{container.machine} has no default route within {patience:g} s: is there DHCP on "
                "its bridge (bridge in the target file)?"
            )
        time.sleep(0.5)


def _has_default_route(container: Transport) -> bool:
    """Source: proc(5); in both files, the destination's bits are zero, and "lo" leads nowhere."""
    four = (container.read("/proc/net/route") or b"").splitlines()
    six = (container.read("/proc/net/ipv6_route") or b"").splitlines()
    return any(line.split()[1:2] == [b"00000000"] for line in four) or any(
        patterns.match(rb"0{32} 00 ", line) and not line.endswith(b" lo") for line in six
    )
