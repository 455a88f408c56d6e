"""Docker 29's containerd image store, which hides what a graph driver kept.

Source: moby daemon (containerd-snapshotter), release notes of Docker 29.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from doctor import guest_reads
from doctor.case import Examination
from lint.finding import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.case import Case
    from lint.finding import Finding

STORE = Problem(
    "containerd-image-store",
    Severity.ADVICE,
    "Docker keeps its images in containerd's store",
    "Docker 29 does so on a fresh installation, and then uses no storage driver. Images and "
    "containers that a storage driver kept before are on the disk and not shown.",
    'To use a storage driver: "features": {"containerd-snapshotter": false} and "storage-driver" '
    "in /etc/docker/daemon.json, and restart Docker. Images of the other store are then not shown.",
)


def judge(case: Case) -> Iterator[Finding]:
    """Say that the store is containerd's."""
    info = case.guest.of(guest_reads.INFO)
    if info.snapshotter:
        yield STORE.here(
            f"Docker {info.server_version or 'of an unknown version'} keeps its images in "
            f"containerd's store, by the snapshotter {info.driver or '(unnamed)'}"
        )


EXAMINATIONS = (
    Examination(
        "where Docker keeps its images",
        (STORE,),
        judge,
        guest=(guest_reads.INFO,),
        of_docker=True,
    ),
)
