"""Backups and snapshots: the freezer waits for ever for a process that waits for fuse.

vzdump freezes a container in its modes snapshot and suspend. A frozen fuse daemon answers nobody,
so a process that waits for it cannot be frozen. Sources: pct(1) on ``fuse``, vzdump(1),
PVE::VZDump::LXC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import node_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import here
from docker_lxc_gate.formats.container_config import given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.formats.mount_table import Mount
    from docker_lxc_gate.lint.finding import Finding

FROZEN_STATES = frozenset({"FROZEN", "FREEZING"})


@Examination("whether the container is frozen", ("container-frozen",), node=(node_reads.lxc_state,))
def frozen(case: Case) -> Iterator[Finding]:
    """Yield that the container is frozen now."""
    state = case.node.of(node_reads.lxc_state(case.ctid))
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
    fuse = [each for each in mounts if _is_own_fuse(each)]
    if fuse:
        what = f"{len(fuse)} fuse mount{'' if len(fuse) == 1 else 's'}, such as {fuse[0].place}"
    elif "fuse" in given(case.config.current().get("features", "")):
        what = "fuse=1 in its features"
    else:
        return
    yield here("backup-may-hang", f"container {case.ctid} has {what}")


def _is_own_fuse(mount: Mount) -> bool:
    """Whether a daemon in the container serves a mount; lxcfs and pmxcfs run on the node."""
    of_fuse = mount.type == "fuse" or mount.type.startswith("fuse.")
    return of_fuse and mount.type != "fuse.lxcfs" and mount.source not in {"lxcfs", "/dev/fuse"}
