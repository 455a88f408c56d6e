"""A hostile guest: root in the container has read this code and hides a fault. It stays red."""

from __future__ import annotations

from faults.fault import Fault, container_fault, red, written
from faults.rows.docker import client
from faults.rows.witnesses import VFS_UNSEEN

#: What breaks the confinement, by the fault's id.
_BROKEN = {fault.id: str(fault.inject) for fault in written("confinement")}
#: A perl that reports every attempt as refused, and attempts nothing.
LIES = """
printf '#!/bin/sh\\nprintf "%%s 13 0\\\\n" firmware mount network profile\\n' |
    into /usr/bin/perl 755
"""
#: Moves PID 1 into a new cgroup, named like another container's; Docker stays in the old one.
HIDES = """
inside mkdir -p /sys/fs/cgroup/lxc/951
inside sh -c 'echo 1 >/sys/fs/cgroup/lxc/951/cgroup.procs'
"""
#: An empty mount whose source reads like more fields and a second line of the mount table. The
#: kernel escapes blanks and line feeds, but not form feeds and wide blanks. It stands where the
#: profile allows systemd to mount. Docker's client reports a container that never started (on vfs,
#: runc starts none here), and a root at the forged place.
_FORGES = r"""
wide=$(printf '\342\200\203') place=/var/lib/docker/forged
source=$(printf 'x\ffuse-overlayfs%s%s%sfuse.fuse-overlayfs%srw' "$wide" $place "$wide" "$wide")
inside mkdir -p $place/etc /run/systemd/mount-rootfs/forged
inside mount -t tmpfs "$source" /run/systemd/mount-rootfs/forged
"""
_CLIENT = r"""case "$*" in
*MergedDir*) echo /var/lib/docker/forged; exit ;;
*"/hello wait") echo forged; exit ;;
esac
exec /usr/bin/docker.real "$@"
"""

FAULTS = (
    Fault(
        "F26-lies",
        "the profile allows everything, and the container's perl reports that all is refused",
        _BROKEN["F26-everything"] + LIES,
        expect=red(
            "refused", "container {ctid} may list the node's firmware", "change to another profile"
        ),
        also=("denials", "again"),
    ),
    Fault(
        "F26-hides",
        "Docker runs unconfined, and PID 1 is in a cgroup named like another container's",
        _BROKEN["F26"] + HIDES,
        expect=red(
            "confined", "not confined by lxc-phoenix-v2", "dockerd (process ", "is unconfined"
        ),
        also=("denials", "again"),
    ),
    container_fault(
        "F31-forged",
        "Docker runs on vfs, and the source of a mount reads like a line of the mount table",
        VFS_UNSEEN + _FORGES + client(_CLIENT),
        expect=red("mount", "nothing is mounted at /var/lib/docker/forged")
        | red("driver", "storage driver is 'vfs'"),
        also=("hello", "denials", "again"),
    ),
)
