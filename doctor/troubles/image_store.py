"""Docker 29's containerd image store, which hides what a graph driver kept.

Source: moby daemon (containerd-snapshotter), release notes of Docker 29.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from doctor import guest_reads
from doctor.case import Examination
from doctor.problems import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.case import Case
    from lint.finding import Finding

STORE = PROBLEMS["containerd-image-store"]


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
