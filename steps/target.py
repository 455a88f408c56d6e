"""The container as such: running, unprivileged, without failed units.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.facts import apparmor, confinement, failed_units, startable
from docker_lxc_gate.facts.denial.denial_answers import smallest_rule
from docker_lxc_gate.formats import id_map, pct_options
from docker_lxc_gate.machines.read import unparsed
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.base import FROZEN_STATES
from docker_lxc_gate.machines.runtime.waiting import reboot, wait_until_booted
from docker_lxc_gate.verdict import evidence

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit import audit_records
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport


@given("the container is running")
def container_is_running(runtime: Runtime, ctid: int) -> None:
    """Nothing inside a container that is not running, or is frozen, can be judged."""
    seen = runtime.node.ask(runtime.lxc_state(ctid))
    if seen in FROZEN_STATES:
        raise TransportError(
            f"container {ctid} on {runtime.node.machine} is {seen.lower()}, so none of its "
            "programs answers. See whether a backup of it still runs; if none does, lxc-unfreeze "
            f"-n {ctid}, then run the gate again"
        )
    if seen not in {"", "STOPPED"}:
        return
    state = runtime.state(ctid)
    obstacle = startable.start_obstacle(runtime, ctid)
    advice = startable.start_advice(runtime, ctid, obstacle).capitalize()
    raise TransportError(
        f"container {ctid} on {runtime.node.machine} is {state or 'absent'}"
        f"{f', and cannot start: {obstacle}' if obstacle else ''}: nothing inside it can be "
        f"judged. {advice}, then run the gate again"
    )


@when("the container is restarted")
def container_is_restarted(runtime: Runtime, container: Transport, ctid: int) -> None:
    """Stop, start, and wait until the guest has booted; a Then checks whether Docker runs."""
    runtime.shutdown(ctid)
    startable.start(runtime, ctid)
    wait_until_booted(container)


@when(
    "the container is started anew, on the lab after a boot of the node", target_fixture="refusal"
)
def started_anew(
    runtime: Runtime,
    container: Transport,
    ctid: int,
    own_lab: bool,
) -> str:
    """Shut it down and start it; a node of the user's own keeps running.

    Return why it does not start; empty if it runs.
    """
    runtime.shutdown(ctid)
    if own_lab:
        reboot(runtime.node)
    try:
        startable.start(runtime, ctid)
    except CommandFailed as failed:
        if runtime.state(ctid) == "stopped":
            return str(failed)
        raise
    wait_until_booted(container)
    return ""


@then("the container has started")
def has_started(refusal: str) -> None:
    """Judge a start that was refused; it ran before."""
    assert not refusal, f"it ran, and does not start again: {refusal}"


@then("root in the container is an ordinary user on the node")
def root_is_mapped(runtime: Runtime, node: Transport, ctid: int) -> None:
    """Read the id map of the container's first process from the node's kernel."""
    maps = ids_of(runtime, node, ctid)
    # Root need not be in the first line: the order is the configuration's.
    roots = [entry for entry in maps["user"] if entry.inside == 0]
    assert roots, f"the user id map of container {ctid}'s first process has no root"
    assert roots[0].outside, (
        f"container {ctid} is privileged: its root is the node's root (no id map)"
    )
    for kind, ranges in maps.items():
        whose = [entry.inside for entry in ranges if entry.outside == 0]
        assert not whose, (
            f"{kind} {whose[0]} of container {ctid} is the node's root, and may change the node's "
            f"files: correct lxc.idmap in {runtime.config_path(ctid)}"
        )
    evidence.say(f"root is {roots[0].outside} on the node, {roots[0].count} ids")


@then("every user and group from 0 to 65535 is mapped")
def every_id_is_mapped(runtime: Runtime, node: Transport, ctid: int) -> None:
    """Read both maps from the node's kernel: an image may hold files of any of these ids."""
    for kind, ranges in ids_of(runtime, node, ctid).items():
        gaps = id_map.holes(ranges)
        assert not gaps, (
            f"{kind} {id_map.in_words(gaps)} not mapped in container {ctid}: Docker fails on an "
            "image with files of theirs ('failed to Lchown'). Map every id from 0 to 65535: "
            f"correct lxc.idmap in {runtime.config_path(ctid)}, then restart the container"
        )
        evidence.say(f"{kind}s: {sum(r.count for r in ranges)} ids in {len(ranges)} range(s)")


def ids_of(runtime: Runtime, node: Transport, ctid: int) -> dict[str, tuple[id_map.Range, ...]]:
    """Return the ranges of users and of groups that the container has, as the node's kernel says.

    Raises FactError if a map cannot be read, or is not the container's.
    """
    pid = runtime.init_pid(ctid)
    users, groups = node.ask(confinement.id_maps(pid))
    return {
        "user": id_map.parse(users, f"/proc/{pid}/uid_map"),
        "group": id_map.parse(groups, f"/proc/{pid}/gid_map"),
    }


@then("the container is configured as unprivileged")
def configured_unprivileged(runtime: Runtime, ctid: int) -> None:
    """Check Proxmox's own option, or plain LXC's id map."""
    options = runtime.configuration(ctid).current()
    assert pct_options.boolean(options.get("unprivileged", "")) or "lxc.idmap" in options, (
        f"container {ctid} is privileged: {runtime.config_path(ctid)} has no 'unprivileged: 1'"
    )


#: Units that fail in every unprivileged guest: they mount file systems of the kernel, which only
#: the node's root may mount.
_NOT_APPARMORS = frozenset({"sys-kernel-config.mount", "sys-kernel-debug.mount"})
#: States of failed units; with ``Restart=`` a unit is always about to be restarted.
_NOT_UP = "--state=failed,auto-restart,auto-restart-queued"
_STATE = unparsed("systemctl", "is-system-running")
_FAILED = unparsed("systemctl", "list-units", _NOT_UP, "--full", "--plain", "--no-legend")
#: systemd's words for a guest that has booted, with or without failed units.
_BOOTED = frozenset({"running", "degraded"})
#: Docker's units, which other scenarios judge.
_DOCKERS = frozenset({"docker.service", "docker.socket", "containerd.service"})


@then("no unit of the guest has failed but those that fail without AppArmor, too")
def no_unit_failed(runtime: Runtime, container: Transport, ctid: int) -> None:
    """Ask systemd: a profile that refuses mounts leaves the guest degraded.

    A failed unit is red only if a denial while it ran matches it. It is undetermined if something
    else was denied then, or the unit itself says that it was refused something. Others are advice.
    """
    if (state := container.ask(_STATE).text.strip()) not in _BOOTED:
        # No look: units start while it waits, and what was seen before is no more so.
        state = container.run([*_STATE.argv, "--wait"], timeout=120).text.strip()
    if state not in _BOOTED:
        raise FactError(f"{container.machine} has not booted: its systemd is in state '{state}'")
    listing = container.ask(_FAILED).require().text
    failed = {line.split()[0] for line in listing.splitlines() if line.strip()}
    left = failed - _NOT_APPARMORS - _DOCKERS
    advice = _judged(runtime, container, ctid, left, state) if left else ()
    evidence.say(f"systemd says {state}; failed: {', '.join(sorted(failed)) or 'none'}")
    for line in advice:
        evidence.say(line)


def _judged(
    runtime: Runtime, container: Transport, ctid: int, names: set[str], state: str
) -> tuple[str, ...]:
    """Return advice about the units that failed without a known denial.

    Raises AssertionError if a denial matches one of them, FactError if a cause is not known.
    """
    label = apparmor.label(runtime.node, runtime.init_pid(ctid))
    # Under this one the container's denials are recorded.
    profile = patterns.sub(r" \(\w+\)$", "", label).partition("//")[0]
    units = failed_units.failed(container, names)
    ours, open_questions, advice = [], [], []
    for unit, denials in failed_units.denials(runtime.node, profile, units).items():
        if fits := failed_units.matching_denials(unit, denials):
            ours.append((unit.name, fits[-1]))
        elif why := _doubt(container, unit, denials):
            open_questions.append(f"{unit.name}: {why}")
        else:
            advice.append(
                f"{unit.name} failed, and the node's log has no denial of it: see systemctl status "
                f"{unit.name} in the container"
            )
    failed = ", ".join(name for name, _ in ours[:8])
    assert not ours, (
        f"the guest is {state}: {len(ours)} unit(s) failed, each with a denial in its time: "
        f"{failed}; the last denial under its profile: {ours[-1][1].summary}; "
        f"to allow it: {smallest_rule(ours[-1][1])}"
    )
    if open_questions:
        raise FactError(
            f"the guest is {state}, and whether AppArmor made {len(open_questions)} unit(s) fail "
            f"is not known: {'; '.join(open_questions[:4])}. Restart the failed units "
            f"(pct exec {ctid} -- systemctl restart UNIT), then run the gate again"
        )
    return tuple(advice)


def _doubt(
    container: Transport, unit: failed_units.FailedUnit, denials: list[audit_records.Denial]
) -> str:
    """Return why AppArmor may have made a unit fail without a matching denial; else empty."""
    if denials:
        return (
            f"a denial while it ran may be its own, or another's under the same profile: "
            f"{denials[-1].summary}"
        )
    try:
        text = failed_units.refusal_message(container, unit.name)
    except FactError as error:  # the other units are still judged
        return str(error)
    if text:
        return f"it was refused something without a record ('{text[:120]}'), as a quiet deny does"
    return ""
