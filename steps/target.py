"""The container as such: is it there, is it running, is it confined from the node's view.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from gate import evidence
from remediation import apparmor, audit, proxmox, startable
from remediation.errors import FactError, TransportError
from remediation.runtime import wait_until_booted

if TYPE_CHECKING:
    from remediation.runtime import Runtime
    from remediation.transport import Transport


@given("the container is running")
def container_is_running(runtime: Runtime, ctid: int) -> None:
    """Nothing inside a container that is not running can be judged."""
    state = runtime.state(ctid)
    if state != "running":
        hindrance = startable.hindrance(runtime, ctid)
        raise TransportError(
            f"container {ctid} on {runtime.node.machine} is {state or 'absent'}"
            f"{f', and cannot start: {hindrance}' if hindrance else ''}: what holds inside cannot "
            f"be judged. {startable.how(runtime, ctid, hindrance).capitalize()} and ask again"
        )


@when("the container is restarted")
def container_is_restarted(runtime: Runtime, container: Transport, ctid: int) -> None:
    """Stop, start, and wait until the guest has booted; that Docker runs is for a Then."""
    runtime.shutdown(ctid)
    startable.start(runtime, ctid)
    wait_until_booted(container)


@then("root in the container is an ordinary user on the node")
def root_is_mapped(runtime: Runtime, node: Transport, ctid: int) -> None:
    """The kernel's own id map of the container's first process, as seen from the node."""
    pid = runtime.init_pid(ctid)
    lines = [line.split() for line in (node.read(f"/proc/{pid}/uid_map") or b"").splitlines()]
    # Not the first line: they stand in the order in which the configuration has them.
    roots = [
        (outside.decode(), count.decode()) for inside, outside, count in lines if inside == b"0"
    ]
    assert roots, f"the id map of process {pid} has no root: {lines}"
    outside, count = roots[0]
    assert outside != "0", (
        f"container {ctid} is privileged: its root is the node's root (no id map)"
    )
    evidence.say(f"root is {outside} on the node, {count} ids")


@then("the container is configured as unprivileged")
def configured_unprivileged(runtime: Runtime, ctid: int) -> None:
    """Proxmox's own option; plain LXC says it by its id map."""
    options = runtime.configuration(ctid).current()
    assert proxmox.boolean(options.get("unprivileged", "")) or "lxc.idmap" in options, (
        f"container {ctid} is privileged: {runtime.config_path(ctid)} has no 'unprivileged: 1'"
    )


#: Units that fail in an unprivileged guest whatever AppArmor does: they mount file systems of
#: the kernel's own, which only the node's root may.
_NOT_APPARMORS = frozenset({"sys-kernel-config.mount", "sys-kernel-debug.mount"})
#: Docker's own are judged where Docker is.
_DOCKERS = frozenset({"docker.service", "docker.socket", "containerd.service"})


@then("no unit of the guest has failed but those that fail without AppArmor, too")
def no_unit_failed(runtime: Runtime, container: Transport, ctid: int) -> None:
    """By systemd: a profile that refuses its mounts leaves the guest degraded."""
    state = container.run(["systemctl", "is-system-running", "--wait"], timeout=120).text.strip()
    if state not in {"running", "degraded"}:
        raise FactError(f"{container.machine} has not started: systemd says '{state}'")
    listing = container.run(
        ["systemctl", "list-units", "--failed", "--full", "--plain", "--no-legend"]
    )
    failed = {line.split()[0] for line in listing.require().text.splitlines() if line.strip()}
    left = sorted(failed - _NOT_APPARMORS - _DOCKERS)
    assert not left, (
        f"the guest is {state}: {len(left)} unit(s) failed: {', '.join(left[:8])}"
        f"{_denied(runtime, ctid)}"
    )
    evidence.say(f"systemd says {state}; failed: {', '.join(sorted(failed)) or 'none'}")


@evidence.explanation
def _denied(runtime: Runtime, ctid: int) -> str:
    """Return what AppArmor denied last under the container's profile; others may share that."""
    profile = apparmor.label(runtime.node, runtime.init_pid(ctid)).partition(" ")[0]
    denials = audit.recent(runtime.node, profile)
    if not denials:
        return "; no denial under its profile is in the log"
    said, rule = denials[-1].summary, audit.smallest_rule(denials[-1])
    return f"; the last denial under its profile: {said}; to allow it: {rule}"
