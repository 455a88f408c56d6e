"""A container's root, who has read this code: what it hides stays red."""

from __future__ import annotations

from faults.fault import CONTAINER, Fault
from faults.rows.confinement import EVERYTHING, UNCONFINED
from faults.rows.witnesses import VFS_UNSEEN
from faults.scenarios import AGAIN, CONFINED, DENIALS, DRIVER, HELLO, MOUNT, REFUSED

#: Says of each attempt that it was refused, and makes none.
LIES = """
printf '#!/bin/sh\\nprintf "%%s 13 0\\\\n" firmware mount network profile\\n' |
    into /usr/bin/perl 755
"""
#: PID 1 goes into a cgroup of its own making, named as LXC names a container's; Docker stays.
HIDES = """
inside mkdir -p /sys/fs/cgroup/lxc/951
inside sh -c 'echo 1 >/sys/fs/cgroup/lxc/951/cgroup.procs'
"""
#: A mount of nothing, whose source reads like two words more and another line: the kernel escapes
#: blanks and line feeds, and neither form feeds nor wide blanks.
_FORGES = r"""
wide=$(printf '\342\200\203') place=/var/lib/docker/forged
source=$(printf 'x\ffuse-overlayfs%s%s%sfuse.fuse-overlayfs%srw' "$wide" $place "$wide" "$wide")
inside mkdir -p $place/etc /mnt/forged
inside mount -t tmpfs "$source" /mnt/forged
inside mv /usr/bin/docker /usr/bin/docker.real
into /usr/bin/docker 755 <<'CLIENT'
#!/bin/sh
case "$*" in *MergedDir*) echo /var/lib/docker/forged; exit ;; esac
exec /usr/bin/docker.real "$@"
CLIENT
"""

FAULTS = (
    Fault(
        "F26-lies",
        "the profile allows everything, and the container's perl says that all is refused",
        EVERYTHING + LIES,
        red=(REFUSED,),
        words=("container {ctid} may list the node's firmware", "change to another profile"),
        also=(DENIALS, AGAIN),
    ),
    Fault(
        "F26-hides",
        "Docker runs unconfined, and PID 1 in a cgroup called like another container's",
        UNCONFINED + HIDES,
        red=(CONFINED,),
        words=("not confined by lxc-phoenix-v2", "dockerd (process ", "is unconfined"),
        also=(DENIALS, AGAIN),
    ),
    Fault(
        "F31-forged",
        "Docker runs on vfs, and the source of a mount reads like a line of the mount table",
        VFS_UNSEEN + _FORGES,
        red=(MOUNT, DRIVER),
        beside=("storage driver is 'vfs'",),
        words=("nothing is mounted at /var/lib/docker/forged",),
        also=(HELLO, DENIALS, AGAIN),
        reach=CONTAINER,
    ),
)
