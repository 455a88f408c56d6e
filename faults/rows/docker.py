"""Docker in the container, with its devices, images and registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.fault import CONTAINER, NODE, Fault
from faults.scenarios import (
    AGAIN,
    DENIALS,
    DRIVER,
    HAS_DOCKER,
    HELLO,
    INSTALLED,
    MOUNT,
    REFUSED,
    SETTINGS,
    THERE,
    UNITS,
)
from lab.provision import REGISTRY
from steps import hello

if TYPE_CHECKING:
    from targets.transport import Transport

#: A user id that an image can have and a container's id map does not.
_OTHER_ID = 1_000_000
#: Scenarios that also fail when Docker is down, and when its containers get no root file system.
_DOWN = (MOUNT, HELLO, DENIALS, AGAIN)
_NO_ROOT = (MOUNT, DENIALS, AGAIN)
#: Moves the links of `systemctl enable`: their times stay, so the rollback is exact.
_LINKS = (
    "for each in multi-user.target.wants/docker.service sockets.target.wants/docker.socket; "
    "do on=/etc/systemd/system/$each off=/etc/systemd/${each##*/}.off; "
)
_RESTART = "inside systemctl restart docker"
#: The profile as the plan's authors wrote it, plus the rules that Docker 26 needs.
_AUTHORS = """
sed -i 's/debian-trixie-standard/debian-testing-docker/' "$repository/etc/phoenix_lxc_configs.json"
pct stop "$ctid"; pct destroy "$ctid"; phoenix create "$ctid"
cat >"$file" <<'PROFILE'
#include <tunables/global>
profile lxc-phoenix-v2 flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/lxc/container-base>
  mount fstype=fuse.fuse-overlayfs -> /var/lib/docker/fuse-overlayfs/**,
  allow /dev/fuse rw,
  allow /sys/fs/fuse/connections r,
  mount,
  umount,
  remount,
  pivot_root,
}
PROFILE
cp "$file" "$repository/etc/apparmor/$profile"; load
"""
#: A client that prints the greeting and runs no container.
_GREETS = '[ "$1" = run ] && { echo "Hello from Docker!"; exit 0; }; exec /usr/bin/docker.real "$@"'
#: A client that pulls the image, and then gives its name to another image.
_SWAPS = (
    'real=/usr/bin/docker.real; [ "$1" = pull ] || exec $real "$@"; '
    '$real "$@" && $real save -o /tmp/image "$2" && $real image rm -f "$2" && '
    "$real load -i /tmp/image"
)


def _in_place_of_docker(program: str) -> str:
    """Return an injection that replaces Docker's client by a shell program."""
    return (
        "inside mv /usr/bin/docker /usr/bin/docker.real; "
        f"printf '#!/bin/sh\\n%s\\n' '{program}' | into /usr/bin/docker 755"
    )


def _image_of_other_ids(node: Transport) -> None:
    """Push a hello-world to the registry whose files the container cannot own."""
    script = (
        "cat >/tmp/other.tar; exec skopeo copy -q --dest-tls-verify=false "
        f"docker-archive:/tmp/other.tar docker://{REGISTRY}/{hello.REFERENCE}"
    )
    archive = hello.docker_archive(owner=_OTHER_ID)
    node.run(["sh", "-c", script], stdin=archive, timeout=120).require()


FAULTS = (
    Fault(
        "F30",
        "Docker stores its layers with vfs",
        f'inside sed -i s/fuse-overlayfs/vfs/ "$settings"; {_RESTART}',
        red=(DRIVER, INSTALLED),
        beside=("names the storage driver 'vfs'",),
        words=("storage driver is 'vfs'",),
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F31",
        "the driver's name is right, but no mount is possible",
        "chmod 600 /dev/fuse",
        red=(MOUNT, THERE),
        beside=("the container cannot open /dev/fuse",),
        words=("no usable /dev/fuse",),
        also=(HELLO, DENIALS),
    ),
    Fault(
        "F32",
        "fuse-overlayfs was removed",
        "inside dpkg -r --force-depends fuse-overlayfs",
        red=(INSTALLED, HELLO),
        beside=("fuse-overlayfs is not installed, or not executable",),
        words=("fuse-overlayfs is not installed in the container",),
        also=_NO_ROOT,
        reach=CONTAINER,
    ),
    Fault(
        "F32-mode",
        "fuse-overlayfs is not executable",
        "inside chmod -x /usr/bin/fuse-overlayfs",
        red=(HELLO,),
        words=("fuse-overlayfs is not installed, or not executable",),
        also=_NO_ROOT,
        reach=CONTAINER,
        rollback="inside chmod +x /usr/bin/fuse-overlayfs",
    ),
    Fault(
        "F32-other",
        "fuse-overlayfs is not the program that it claims to be",
        "inside mv /usr/bin/fuse-overlayfs /usr/bin/fuse-overlayfs.off; "
        "printf '#!/bin/sh\\n' | into /usr/bin/fuse-overlayfs 755",
        red=(HELLO,),
        words=("/usr/bin/fuse-overlayfs mounted nothing",),
        also=_NO_ROOT,
        reach=CONTAINER,
        rollback="inside mv /usr/bin/fuse-overlayfs.off /usr/bin/fuse-overlayfs",
    ),
    Fault(
        "F33",
        "daemon.json is not JSON",
        f'inside sed -i \'s/fuse-overlayfs"/fuse-overlayfs",,/\' "$settings"; {_RESTART} || true',
        red=(INSTALLED, DRIVER),
        beside=("Docker is not running in the container",),
        undetermined=(SETTINGS,),
        words=("daemon.json, line ", "column ", "Docker does not start"),
        because=("daemon.json is not JSON",),
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F33-key",
        "daemon.json has a key that Docker does not know",
        f'inside sed -i \'1s/{{/{{"no-such-key": true,/\' "$settings"; {_RESTART} || true',
        red=(DRIVER,),
        words=("Docker is not running", "no-such-key"),
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F33-absent",
        "daemon.json does not exist",
        'inside rm "$settings"',
        red=(INSTALLED,),
        undetermined=(SETTINGS,),
        words=("daemon.json is absent",),
        because=("daemon.json is absent",),
        also=(DENIALS, AGAIN),
        reach=CONTAINER,
    ),
    Fault(
        "F34",
        "daemon.json lost the user's other settings",
        'printf \'{"storage-driver": "fuse-overlayfs"}\\n\' | into "$settings"',
        red=(SETTINGS,),
        words=("the user's settings are lost",),
        also=(DENIALS,),
        reach=CONTAINER,
    ),
    Fault(
        "F35",
        "the containerd image store is on",
        'inside sed -i \'1s/{/{"features": {"containerd-snapshotter": true},/\' "$settings"; '
        f"{_RESTART}",
        red=(DRIVER,),
        words=("Docker uses the containerd image store",),
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F36",
        "Docker does not start at boot",
        _LINKS + 'inside mv "$on" "$off"; done',
        red=(DRIVER,),
        words=("does not start at boot",),
        also=(DENIALS, AGAIN),
        reach=CONTAINER,
        rollback=_LINKS + 'inside mv "$off" "$on"; done',
    ),
    Fault(
        "F36-masked",
        "Docker was stopped and masked",
        "inside systemctl stop docker.socket docker; inside systemctl -q mask docker",
        red=(DRIVER,),
        words=("Docker is not running", "it is masked"),
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F37",
        "a newer runc meets the quiet denies of container-base in the profile",
        _AUTHORS,
        red=(HELLO,),
        words=("the profile refuses that without a record", "it has runc version"),
        also=(UNITS, REFUSED, MOUNT, DENIALS, AGAIN),
        release="testing",
    ),
    Fault(
        "F38",
        "the image's files are owned by ids outside the container's map",
        _image_of_other_ids,
        undetermined=(HELLO,),
        words=("no failure of the platform", "subordinate ids"),
        also=(DENIALS,),
        reach=CONTAINER,
    ),
    Fault(
        "F39",
        "the registry cannot be reached",
        "systemctl stop docker-registry",
        undetermined=(HELLO,),
        words=("the registry did not serve hello-world",),
        also=(DENIALS,),
        reach=CONTAINER,
    ),
    Fault(
        "F40",
        "the fuse daemon behind a running container's mount dies",
        'systemd-run -q --unit=killer sh -c \'until pgrep -fx "/hello wait"; do sleep 0.2; done; '
        "sleep 0.5; pkill -KILL -x fuse-overlayfs'",
        red=(MOUNT,),
        words=("the fuse-overlayfs process behind a mount died",),
        reach=CONTAINER,
    ),
    Fault(
        "F41",
        "the client prints the greeting without running a container",
        _in_place_of_docker(_GREETS),
        red=(HELLO,),
        words=("dockerd has no record of this run",),
        also=(MOUNT,),
        reach=CONTAINER,
    ),
    Fault(
        "F41-image",
        "another image has the name hello-world",
        _in_place_of_docker(_SWAPS),
        red=(HELLO,),
        words=("was never pulled as hello-world",),
        reach=CONTAINER,
    ),
    Fault(
        "F41-witness",
        "the node cannot query dockerd",
        'wrap /usr/bin/perl \'case "$*" in *openat2*) echo no such call >&2; exit 3 ;; esac\n'
        'exec "$real" "$@"\'',
        undetermined=(HELLO, DRIVER, INSTALLED, SETTINGS, THERE, REFUSED),
        words=("cannot find out whether dockerd runs", "no such call"),
        because=("no such call",),
        reach=NODE,
    ),
    Fault(
        "F42",
        "the container has no docker client",
        "inside mv /usr/bin/docker /usr/bin/docker.off",
        red=(HAS_DOCKER, DRIVER),
        beside=("Docker does not answer",),
        words=("the container has no docker client",),
        also=_DOWN,
        reach=CONTAINER,
        rollback="inside mv /usr/bin/docker.off /usr/bin/docker",
    ),
)
