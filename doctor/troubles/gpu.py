"""Graphics cards: devices that nobody in the container may open, and what nvidia's hook says.

Sources: pct(1) on ``dev[n]``, kernel Documentation/admin-guide/cgroup-v2 (device controller),
nvidia-container-toolkit's config.toml (``no-cgroups``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from doctor import guest_reads
from doctor.case import Examination
from doctor.troubles.ownership import OVERFLOW
from lint.finding import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.case import Case
    from doctor.guest_reads import Given
    from lint.finding import Finding

OWNER = Problem(
    "gpu-of-nobody",
    Severity.TROUBLE,
    "a graphics device is in the container, and nobody there may open it",
    "Its owner on the node is not in the container's id map, and others have no right to it. Not "
    "even root in the container can open it, so no Docker container can.",
    "On Proxmox 8.2 or later: give it by dev0 with a gid of the container, instead of by "
    "lxc.mount.entry.",
)
CGROUPS = Problem(
    "gpu-cgroup-refused",
    Severity.SEEN,
    "nvidia's hook wants to set the device cgroup, which an unprivileged container may not",
    "nvidia-container-cli asks for the cgroup's BPF program (bpf_prog_query) and is refused. LXC "
    "has opened the devices already.",
    "In the container, in /etc/nvidia-container-runtime/config.toml: no-cgroups = true, below "
    "[nvidia-container-cli]. Then restart Docker.",
)
RUNTIME = Problem(
    "gpu-runtime-missing",
    Severity.SEEN,
    "Docker has no driver for graphics cards",
    "--gpus needs the NVIDIA Container Toolkit in the container, and Docker does not know it.",
    "In the container: install nvidia-container-toolkit, nvidia-ctk runtime configure "
    "--runtime=docker, and restart Docker.",
)
LIBRARY = Problem(
    "gpu-driver-differs",
    Severity.SEEN,
    "nvidia's driver on the node and its libraries in the container do not fit",
    "The kernel's driver is the node's, the libraries are the container's. They must be of the "
    "same version, and the driver must be loaded.",
    "On the node: nvidia-smi shows the driver's version. Install the libraries of that version in "
    "the container, without a kernel module (--no-kernel-module).",
)
_SAID = (
    (re.compile(r"bpf_prog_query\(BPF_CGROUP_DEVICE\) failed"), CGROUPS),
    (re.compile(r"could not select device driver .{0,40}capabilities: \[\[.{0,40}gpu"), RUNTIME),
    (re.compile(r"[Dd]river/library version mismatch|nvml error: driver not loaded"), LIBRARY),
)
MESSAGES = guest_reads.messages(
    "bpf_prog_query|could not select device driver|version mismatch|nvml error"
)
#: Rights to read and write.
_OWNER, _GROUP, _OTHERS = 0o600, 0o060, 0o006


def judge(case: Case) -> Iterator[Finding]:
    """Yield each device that nobody in the container may open."""
    for each in case.guest.of(guest_reads.DEVICES):
        is_gpu = each.path.startswith(("/dev/dri/render", "/dev/kfd", "/dev/nvidia"))
        if is_gpu and not _may_be_opened(each):
            mend = _mend(each) if case.pct else _OF_LXC
            yield OWNER.here(
                f"{each.path} belongs to {each.user}:{each.group} in the container, "
                f"with permissions {each.mode:o}: its owner there is nobody",
                mend=mend,
            )


def _may_be_opened(device: Given) -> bool:
    """Whether somebody in the container has a right to it: others, its owner, or its group."""
    owned = device.user != OVERFLOW and device.mode & _OWNER == _OWNER
    grouped = device.group != OVERFLOW and device.mode & _GROUP == _GROUP
    return device.mode & _OTHERS == _OTHERS or owned or grouped


_OF_LXC = (
    "On the node: chgrp it to a group that the container has, by a udev rule, so that it survives "
    "a reboot of the node."
)


def _mend(device: Given) -> str:
    return (
        f"Delete its lxc.mount.entry, and set: dev0: {device.path[:100]},gid=G. G is the id of the "
        "group render or video in the container (getent group render). Then restart the container."
    )


def judge_messages(case: Case) -> Iterator[Finding]:
    """Yield what nvidia's programs said."""
    lines = [
        *guest_reads.failures(case.guest.maybe(guest_reads.CONTAINERS, ())),
        *case.guest.of(MESSAGES),
    ]
    for pattern, kind in _SAID:
        said = [line for line in lines if pattern.search(line)]
        if said:
            yield kind.here(f"Docker says: {said[-1].strip()[-300:]}")


EXAMINATIONS = (
    Examination(
        "whether a graphics device can be opened", (OWNER,), judge, guest=(guest_reads.DEVICES,)
    ),
    Examination(
        "what nvidia's programs said",
        (CGROUPS, RUNTIME, LIBRARY),
        judge_messages,
        guest=(MESSAGES, guest_reads.CONTAINERS),
    ),
)
