"""The container itself: whether it and its Docker run and start again, and what their files say.

vzdump freezes a container in its modes snapshot and suspend. A frozen fuse daemon answers nobody,
so a process that waits for it cannot be frozen. Without nesting, or where a new mount call is
refused, units of the guest fail. Sources: pct(1), vzdump(1), PVE::VZDump::LXC, systemd.exec(5) on
exit codes (226 NAMESPACE, 243 CREDENTIALS, 218 CAPABILITIES).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import Case, Examination, here
from docker_lxc_gate.doctor.examinations.confinement import on_new_lxc
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor, startable
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.formats.container_config import given
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Finding, Kind, Severity, Source
from docker_lxc_gate.machines.runtime.base import FROZEN_STATES, Runtime
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL, NO_QUORUM
from docker_lxc_gate.printable import counted, listed

if TYPE_CHECKING:
    from docker_lxc_gate.formats.mount_table import Mount

_FUSE = "fuse-overlayfs"
_UP = frozenset({"RUNNING", "FROZEN", "FREEZING", "THAWED"})


@Examination("whether the cluster has quorum", ("node-without-quorum",), node=(IN_CONTROL,))
def quorum(case: Case) -> Iterator[Finding]:
    """Yield that the node can start no container, and change none."""
    if case.pct and not case.node.of(IN_CONTROL)[0]:
        yield here("node-without-quorum", NO_QUORUM.partition(".")[0])


@Examination("whether the container runs", ("container-stopped",), node=(Runtime.lxc_state,))
def state(case: Case) -> Iterator[Finding]:
    """Yield that the container does not run."""
    state = case.node.of(Runtime.lxc_state(case.ctid))
    if state not in _UP:
        cause = f"container {case.ctid} does not run (LXC says {state or 'nothing'})"
        if case.start_obstacle:
            how = "pct start CTID" if case.pct else "lxc-start -n CTID"
            cause += f", and cannot start: {case.start_obstacle}"
            yield here("container-stopped", cause, fix=f"Correct that, then start it: {how}")
        else:
            yield here("container-stopped", cause)


@Examination(
    "what the container's next start will do",
    ("next-start-fails", "next-start-loses"),
    node=(Runtime.lxc_state, apparmor.PROFILES),
    guest=(guest_reads.INFO,),
)
def next_start(case: Case) -> Iterator[Finding]:
    """Yield what the next start of a container that runs will fail at, or lose."""
    profiles = case.node.of(apparmor.PROFILES)
    if case.node.of(Runtime.lxc_state(case.ctid)) not in _UP or profiles is None:
        return
    later = container_config.at_next_stop(case.config) if case.pct else case.config
    if obstacle := startable.obstacle(later, apparmor.modes(profiles)):
        yield here(
            "next-start-fails", f"container {case.ctid} runs, and cannot start again: {obstacle}"
        )
    info = case.guest.maybe(guest_reads.INFO, None)
    wanted = ("nesting", "fuse") if info is None or info.driver == _FUSE else ("nesting",)
    if lost := [*set(container_config.lost_at_next_stop(case.config, wanted)) & {*wanted}]:
        yield here(
            "next-start-loses",
            f"a pending change takes {' and '.join(sorted(lost))} away at the next start of "
            f"container {case.ctid} ({case.config.path}, [pve:pending])",
        )


@Examination(
    "whether Docker runs",
    ("docker-down", "docker-absent", "docker-mute"),
    guest=(guest_reads.UNIT, guest_reads.INFO, guest_reads.CONTAINERS, messages.READ),
)
def docker(case: Case) -> Iterator[Finding]:
    """Yield that Docker does not run, with its own last word."""
    unit = case.guest.of(guest_reads.UNIT)
    if unit.runs:
        try:
            case.guest.of(guest_reads.INFO)
        except FactError as error:
            yield here("docker-mute", f"docker.service is active, but: {str(error)[:400]}")
        return
    if unit.load == "not-found":
        yield here(
            "docker-absent",
            "Docker is not installed in the container: systemd knows no docker.service",
        )
        return
    heard = case.guest.maybe(messages.READ, None) is not None
    message = next(messages.said(case, "docker-down", "network-refused"), None) if heard else None
    last = f"; its last word: {message.line[:400]}" if message else ""
    result = "" if unit.result in {"", "success"} else f", result {unit.result}"
    yield here("docker-down", f"docker.service is {unit.active[:40]}{result}{last}")


@Examination("whether the container has an init", ("container-application",))
def application(case: Case) -> Iterator[Finding]:
    """Yield the entrypoint of an OCI image. Source: PVE::LXC::Create, restore_oci_archive."""
    runs = case.config.current().get("entrypoint", "/sbin/init")
    if case.pct and runs.split()[:1] != ["/sbin/init"]:
        yield here("container-application", f"'entrypoint: {runs[:200]}' runs instead of an init")


@Examination("whether the container is frozen", ("container-frozen",), node=(Runtime.lxc_state,))
def frozen(case: Case) -> Iterator[Finding]:
    """Yield that the container is frozen now."""
    state = case.node.of(Runtime.lxc_state(case.ctid))
    if state in FROZEN_STATES:
        lock = case.config.current().get("lock", "")
        held = f", and Proxmox holds its lock '{lock}'" if lock else ""
        yield here("container-frozen", f"LXC says that container {case.ctid} is {state}{held}")


@Examination("whether a backup may hang", ("backup-may-hang",), node=(node_reads.mounts,))
def backup(case: Case) -> Iterator[Finding]:
    """Yield that a fuse mount may keep a backup from ending."""
    if not case.pct:
        return
    mounts = case.node.of(node_reads.mounts(case.ctid))
    fuse = [mount for mount in mounts if _is_own_fuse(mount)]
    if fuse:
        what = f"{counted(len(fuse), 'fuse mount')}, such as {fuse[0].place}"
    elif "fuse" in given(case.config.current().get("features", "")):
        what = "fuse=1 in its features"
    else:
        return
    yield here("backup-may-hang", f"container {case.ctid} has {what}")


def _is_own_fuse(mount: Mount) -> bool:
    """Whether a daemon in the container serves a mount; lxcfs and pmxcfs run on the node."""
    of_fuse = mount.type == "fuse" or mount.type.startswith("fuse.")
    return of_fuse and mount.type != "fuse.lxcfs" and mount.source not in {"lxcfs", "/dev/fuse"}


#: More of one file than anybody reads: a guest may write one for that. Of one, so much is shown
#: (characters).
_MANY, _LONGEST = 10, 400


@Examination("what is wrong in the container's configuration", ("lint",))
def configuration(case: Case) -> Iterator[Finding]:
    """Yield what is wrong in the container's configuration."""
    kind = Kind.CONTAINER if case.pct else Kind.LXC
    maps = case.node.maybe(node_reads.id_maps(case.ctid), None)
    confined = case.node.maybe(node_reads.confined(case.ctid), None)
    known = {  # the kernel itself was asked, which knows better than a file
        "container-idmap-hole": maps is not None,
        "container-unconfined": confined is not None and confined.confines_nothing,
    }
    for finding in _found(Source(case.config.path, case.content, kind)):
        if not known.get(finding.id):
            cure = finding.id in {"container-apparmor-hidden", "container-unconfined"}
            yield on_new_lxc(case, finding) if cure else finding


@Examination(
    "what is wrong in Docker's settings", ("lint",), guest=(guest_reads.SETTINGS, guest_reads.UNIT)
)
def daemon(case: Case) -> Iterator[Finding]:
    """Yield what is wrong in Docker's settings.

    A Docker that runs may be newer than lint's list of keys, so an unknown one is advice then.
    """
    content = case.guest.of(guest_reads.SETTINGS)
    if content is None:
        return
    unit = case.guest.maybe(guest_reads.UNIT, None)
    path = f"container {case.ctid}:/etc/docker/daemon.json"
    for finding in _found(Source(path, content, Kind.DAEMON)):
        if finding.id == "daemon-key-unknown" and unit is not None and unit.runs:
            known = (
                "as far as lint knows; Docker runs, so it is newer, or the file was changed since"
            )
            cause = f"{finding.cause}, {known}"
            yield replace(finding, severity=Severity.ADVICE, cause=cause)
        else:
            yield finding


def _found(source: Source) -> Iterator[Finding]:
    findings = [finding for finding in check([source]) if not finding.is_advice]
    for number, finding in enumerate(findings[:_MANY], 1):
        place = f"{finding.path}, line {finding.line}" if finding.line else finding.path
        left_out = len(findings) - _MANY if number == _MANY else 0
        more = f"; {left_out} more in this file: see lint" if left_out > 0 else ""
        cause = f"{place}: {finding.cause[:_LONGEST]}{more}"
        yield finding.problem.here(cause, fix=finding.fix, severity=Severity.PROBLEM)


_CODES = {"226": "NAMESPACE", "243": "CREDENTIALS"}
_MANY_UNITS = 5


@Examination("whether the container has nesting", ("nesting-off",))
def nesting(case: Case) -> Iterator[Finding]:
    """Yield that nesting is off; plain LXC has no such option, and its profile decides."""
    features = given(case.config.current().get("features", ""))
    if case.pct and "nesting" not in features:
        yield here("nesting-off", f"{case.config.path} has no nesting=1 in features")


@Examination(
    "whether units of the guest are refused", ("units-refused",), guest=(guest_reads.FAILED,)
)
def units(case: Case) -> Iterator[Finding]:
    """Yield the units that failed before their program ran."""
    units = case.guest.of(guest_reads.FAILED)
    if failed := [f"{name} ({_CODES[code]})" for name, code in units if code in _CODES]:
        yield here("units-refused", f"{len(failed)} failed: {listed(failed, _MANY_UNITS)}")
