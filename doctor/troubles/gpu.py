"""Graphics cards: devices that nobody in the container may open, and what nvidia's hook says.

Sources: pct(1) on ``dev[n]``, kernel Documentation/admin-guide/cgroup-v2 (device controller),
nvidia-container-toolkit's config.toml (``no-cgroups``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from doctor import guest_reads, messages
from doctor.case import Examination
from doctor.problems import PROBLEMS
from doctor.troubles.ownership import OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.case import Case
    from doctor.guest_reads import Given
    from lint.finding import Finding

OWNER = PROBLEMS["gpu-of-nobody"]
CGROUPS = PROBLEMS["gpu-cgroup-refused"]
RUNTIME = PROBLEMS["gpu-runtime-missing"]
LIBRARY = PROBLEMS["gpu-driver-differs"]
_SAID = (CGROUPS, RUNTIME, LIBRARY)
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
    for each in {each.message.problem: each for each in messages.said(case, *_SAID)}.values():
        yield each.message.means.here(f"Docker says: {each.line[-300:]}")


EXAMINATIONS = (
    Examination(
        "whether a graphics device can be opened", (OWNER,), judge, guest=(guest_reads.DEVICES,)
    ),
    Examination(
        "what nvidia's programs said",
        _SAID,
        judge_messages,
        guest=(messages.READ, guest_reads.CONTAINERS),
    ),
)
