"""Docker in the container, with its devices, images and registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.fault import CONTAINER, NODE, Fault, red, undetermined
from lab.provision import REGISTRY
from steps import hello

if TYPE_CHECKING:
    from targets.transport import Transport

#: A user id that an image can have and a container's id map does not.
_OTHER_ID = 1_000_000
#: Scenarios that also fail when Docker is down, and when its containers get no root file system.
_DOWN = ("mount", "hello", "denials", "again")
_NO_ROOT = ("mount", "denials", "again")
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
        expect={
            "driver": red("storage driver is 'vfs'"),
            "installed": red("names the storage driver 'vfs'"),
        },
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F31",
        "the driver's name is right, but no mount is possible",
        "chmod 600 /dev/fuse",
        expect={
            "mount": red("no usable /dev/fuse"),
            "there": red("the container cannot open /dev/fuse"),
        },
        also=("hello", "denials"),
    ),
    Fault(
        "F32",
        "fuse-overlayfs was removed",
        "inside dpkg -r --force-depends fuse-overlayfs",
        expect={
            "installed": red("fuse-overlayfs is not installed in the container"),
            "hello": red("fuse-overlayfs is not installed, or not executable"),
        },
        also=_NO_ROOT,
        reach=CONTAINER,
    ),
    Fault(
        "F32-mode",
        "fuse-overlayfs is not executable",
        "inside chmod -x /usr/bin/fuse-overlayfs",
        expect={"hello": red("fuse-overlayfs is not installed, or not executable")},
        also=_NO_ROOT,
        reach=CONTAINER,
        rollback="inside chmod +x /usr/bin/fuse-overlayfs",
    ),
    Fault(
        "F32-other",
        "fuse-overlayfs is not the program that it claims to be",
        "inside mv /usr/bin/fuse-overlayfs /usr/bin/fuse-overlayfs.off; "
        "printf '#!/bin/sh\\n' | into /usr/bin/fuse-overlayfs 755",
        expect={"hello": red("/usr/bin/fuse-overlayfs mounted nothing")},
        also=_NO_ROOT,
        reach=CONTAINER,
        rollback="inside mv /usr/bin/fuse-overlayfs.off /usr/bin/fuse-overlayfs",
    ),
    Fault(
        "F33",
        "daemon.json is not JSON",
        f'inside sed -i \'s/fuse-overlayfs"/fuse-overlayfs",,/\' "$settings"; {_RESTART} || true',
        expect={
            "installed": red("daemon.json, line ", "column ", "Docker does not start"),
            "driver": red("Docker is not running in the container"),
            "settings": undetermined("daemon.json is not JSON"),
        },
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F33-key",
        "daemon.json has a key that Docker does not know",
        f'inside sed -i \'1s/{{/{{"no-such-key": true,/\' "$settings"; {_RESTART} || true',
        expect={"driver": red("Docker is not running", "no-such-key")},
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F33-absent",
        "daemon.json does not exist",
        'inside rm "$settings"',
        expect={
            "installed": red("daemon.json is absent"),
            "settings": undetermined("daemon.json is absent"),
        },
        also=("denials", "again"),
        reach=CONTAINER,
    ),
    Fault(
        "F34",
        "daemon.json lost the user's other settings",
        'printf \'{"storage-driver": "fuse-overlayfs"}\\n\' | into "$settings"',
        expect={"settings": red("the user's settings are lost")},
        also=("denials",),
        reach=CONTAINER,
    ),
    Fault(
        "F35",
        "the containerd image store is on",
        'inside sed -i \'1s/{/{"features": {"containerd-snapshotter": true},/\' "$settings"; '
        f"{_RESTART}",
        expect={"driver": red("Docker uses the containerd image store")},
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F36",
        "Docker does not start at boot",
        _LINKS + 'inside mv "$on" "$off"; done',
        expect={"driver": red("does not start at boot")},
        also=("denials", "again"),
        reach=CONTAINER,
        rollback=_LINKS + 'inside mv "$off" "$on"; done',
    ),
    Fault(
        "F36-masked",
        "Docker was stopped and masked",
        "inside systemctl stop docker.socket docker; inside systemctl -q mask docker",
        expect={"driver": red("Docker is not running", "it is masked")},
        also=_DOWN,
        reach=CONTAINER,
    ),
    Fault(
        "F37",
        "a newer runc meets the quiet denies of container-base in the profile",
        _AUTHORS,
        expect={"hello": red("the profile refuses that without a record", "it has runc version")},
        also=("units", "refused", "mount", "denials", "again"),
        release="testing",
    ),
    Fault(
        "F38",
        "the image's files are owned by ids outside the container's map",
        _image_of_other_ids,
        expect={"hello": undetermined("no failure of the platform", "subordinate ids")},
        also=("denials",),
        reach=CONTAINER,
    ),
    Fault(
        "F39",
        "the registry cannot be reached",
        "systemctl stop docker-registry",
        expect={"hello": undetermined("the registry did not serve hello-world")},
        also=("denials",),
        reach=CONTAINER,
    ),
    Fault(
        "F40",
        "the fuse daemon behind a running container's mount dies",
        'systemd-run -q --unit=killer sh -c \'until pgrep -fx "/hello wait"; do sleep 0.2; done; '
        "sleep 0.5; pkill -KILL -x fuse-overlayfs'",
        expect={"mount": red("the fuse-overlayfs process behind a mount died")},
        reach=CONTAINER,
    ),
    Fault(
        "F41",
        "the client prints the greeting without running a container",
        _in_place_of_docker(_GREETS),
        expect={"hello": red("dockerd has no record of this run")},
        also=("mount",),
        reach=CONTAINER,
    ),
    Fault(
        "F41-image",
        "another image has the name hello-world",
        _in_place_of_docker(_SWAPS),
        expect={"hello": red("was never pulled as hello-world")},
        reach=CONTAINER,
    ),
    Fault(
        "F41-witness",
        "the node cannot query dockerd",
        'wrap /usr/bin/perl \'case "$*" in *openat2*) echo no such call >&2; exit 3 ;; esac\n'
        'exec "$real" "$@"\'',
        expect={
            "hello": undetermined("cannot find out whether dockerd runs", "no such call"),
            "driver": undetermined("no such call"),
            "installed": undetermined("no such call"),
            "settings": undetermined("no such call"),
            "there": undetermined("no such call"),
            "refused": undetermined("no such call"),
        },
        reach=NODE,
    ),
    Fault(
        "F42",
        "the container has no docker client",
        "inside mv /usr/bin/docker /usr/bin/docker.off",
        expect={
            "has-docker": red("the container has no docker client"),
            "driver": red("Docker does not answer"),
        },
        also=_DOWN,
        reach=CONTAINER,
        rollback="inside mv /usr/bin/docker.off /usr/bin/docker",
    ),
)
