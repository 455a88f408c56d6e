"""Graphics cards: devices that nobody in the container may open. Source: pct(1) on ``dev[n]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import here
from docker_lxc_gate.doctor.examinations.ownership import OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.doctor.guest_reads import Given
    from docker_lxc_gate.lint.finding import Finding

#: Rights to read and write.
_OWNER, _GROUP, _OTHERS = 0o600, 0o060, 0o006


@Examination(
    "whether a graphics device can be opened",
    ("gpu-of-nobody",),
    guest=(guest_reads.DEVICES,),
)
def devices(case: Case) -> Iterator[Finding]:
    """Yield each device that nobody in the container may open."""
    for each in case.guest.of(guest_reads.DEVICES):
        is_gpu = each.path.startswith(("/dev/dri/render", "/dev/kfd", "/dev/nvidia"))
        if is_gpu and not _may_be_opened(each):
            fix = _fix(each) if case.pct else _OF_LXC
            yield here(
                "gpu-of-nobody",
                f"{each.path} belongs to {each.user}:{each.group} in the container, "
                f"with permissions {each.mode:o}: its owner there is nobody",
                fix=fix,
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


def _fix(device: Given) -> str:
    return (
        f"Delete its lxc.mount.entry, and set: dev0: {device.path[:100]},gid=G. G is the id of the "
        "group render or video in the container (getent group render). Then restart the container."
    )
