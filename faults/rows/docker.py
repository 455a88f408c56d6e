"""Docker in the container, with its devices, images and registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.fault import Fault, container_fault, node_fault, red, undetermined
from lab.provision import REGISTRY
from steps import hello

if TYPE_CHECKING:
    from targets.transport import Transport

#: A user id that an image can have and a container's id map does not.
_OTHER_ID = 1_000_000
#: Scenarios that also fail when Docker is down, and when its containers get no root file system.
DOWN = ("mount", "hello", "denials", "again")
_NO_ROOT = ("mount", "denials", "again")
#: Moves the links of `systemctl enable`: their times stay, so the rollback is exact.
_LINKS = (
    "for each in multi-user.target.wants/docker.service sockets.target.wants/docker.socket; "
    "do on=/etc/systemd/system/$each off=/etc/systemd/${each##*/}.off; "
)
RESTART = "inside systemctl restart docker"
VFS = f'inside sed -i s/fuse-overlayfs/vfs/ "$settings"; {RESTART}'
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


def client(program: str) -> str:
    """Return an injection that replaces Docker's client by a shell program."""
    return (
        "inside mv /usr/bin/docker /usr/bin/docker.real\n"
        f"into /usr/bin/docker 755 <<'CLIENT'\n#!/bin/sh\n{program}\nCLIENT\n"
    )


def push(node: Transport, archive: bytes) -> None:
    """Push an image to the registry as hello-world."""
    script = (
        "cat >/tmp/other.tar; exec skopeo copy -q --dest-tls-verify=false "
        f"docker-archive:/tmp/other.tar docker://{REGISTRY}/{hello.REFERENCE}"
    )
    node.run(["sh", "-c", script], stdin=archive, timeout=120).require()


FAULTS = (
    container_fault(
        "F30",
        "Docker stores its layers with vfs",
        VFS,
        expect=red("driver", "storage driver is 'vfs'")
        | red("installed", "names the storage driver 'vfs'"),
        also=DOWN,
    ),
    Fault(
        "F31",
        "the driver's name is right, but no mount is possible",
        "chmod 600 /dev/fuse",
        expect=red("mount", "no usable /dev/fuse")
        | red("there", "the container cannot open /dev/fuse"),
        also=("hello", "denials"),
    ),
    container_fault(
        "F32",
        "fuse-overlayfs was removed",
        "inside dpkg -r --force-depends fuse-overlayfs",
        expect=red("installed", "fuse-overlayfs is not installed in the container")
        | red("hello", "fuse-overlayfs is not installed, or not executable"),
        also=_NO_ROOT,
    ),
    container_fault(
        "F32-mode",
        "fuse-overlayfs is not executable",
        "inside chmod -x /usr/bin/fuse-overlayfs",
        expect=red("hello", "fuse-overlayfs is not installed, or not executable"),
        also=_NO_ROOT,
        rollback="inside chmod +x /usr/bin/fuse-overlayfs",
    ),
    container_fault(
        "F32-other",
        "fuse-overlayfs is not the program that it claims to be",
        "inside mv /usr/bin/fuse-overlayfs /usr/bin/fuse-overlayfs.off; "
        "printf '#!/bin/sh\\n' | into /usr/bin/fuse-overlayfs 755",
        expect=red("hello", "/usr/bin/fuse-overlayfs mounted nothing"),
        also=_NO_ROOT,
        rollback="inside mv /usr/bin/fuse-overlayfs.off /usr/bin/fuse-overlayfs",
    ),
    container_fault(
        "F33",
        "daemon.json is not JSON",
        f'inside sed -i \'s/fuse-overlayfs"/fuse-overlayfs",,/\' "$settings"; {RESTART} || true',
        expect=red("installed", "daemon.json, line ", "column ", "Docker does not start")
        | red("driver", "Docker is not running in the container")
        | undetermined("settings", "daemon.json is not JSON"),
        also=DOWN,
    ),
    container_fault(
        "F33-key",
        "daemon.json has a key that Docker does not know",
        f'inside sed -i \'1s/{{/{{"no-such-key": true,/\' "$settings"; {RESTART} || true',
        expect=red("driver", "Docker is not running", "no-such-key"),
        also=DOWN,
    ),
    container_fault(
        "F33-absent",
        "daemon.json does not exist",
        'inside rm "$settings"',
        expect=red("installed", "daemon.json is absent")
        | undetermined("settings", "daemon.json is absent"),
        also=("denials", "again"),
    ),
    container_fault(
        "F34",
        "daemon.json lost the user's other settings",
        'printf \'{"storage-driver": "fuse-overlayfs"}\\n\' | into "$settings"',
        expect=red("settings", "the user's settings are lost"),
        also=("denials",),
    ),
    container_fault(
        "F35",
        "the containerd image store is on",
        'inside sed -i \'1s/{/{"features": {"containerd-snapshotter": true},/\' "$settings"; '
        f"{RESTART}",
        expect=red("driver", "Docker uses the containerd image store"),
        also=DOWN,
    ),
    container_fault(
        "F36",
        "Docker does not start at boot",
        _LINKS + 'inside mv "$on" "$off"; done',
        expect=red("driver", "does not start at boot"),
        also=("denials", "again"),
        rollback=_LINKS + 'inside mv "$off" "$on"; done',
    ),
    container_fault(
        "F36-masked",
        "Docker was stopped and masked",
        "inside systemctl stop docker.socket docker; inside systemctl -q mask docker",
        expect=red("driver", "Docker is not running", "it is masked"),
        also=DOWN,
    ),
    Fault(
        "F37",
        "a newer runc meets the quiet denies of container-base in the profile",
        _AUTHORS,
        expect=red("hello", "the profile refuses that without a record", "it has runc version"),
        also=("units", "refused", "mount", "denials", "again"),
        release="testing",
    ),
    container_fault(
        "F38",
        "the image's files are owned by ids outside the container's map",
        lambda node: push(node, hello.docker_archive(owner=_OTHER_ID)),
        expect=undetermined("hello", "no failure of the platform", "subordinate ids"),
        also=("denials",),
    ),
    container_fault(
        "F39",
        "the registry cannot be reached",
        "systemctl stop docker-registry",
        expect=undetermined("hello", "the registry did not serve hello-world"),
        also=("denials",),
    ),
    container_fault(
        "F40",
        "the fuse daemon behind a running container's mount dies",
        'systemd-run -q --unit=killer sh -c \'until pgrep -fx "/hello wait"; do sleep 0.2; done; '
        "sleep 0.5; pkill -KILL -x fuse-overlayfs'",
        expect=red("mount", "the fuse-overlayfs process behind a mount died"),
    ),
    container_fault(
        "F41",
        "the client prints the greeting without running a container",
        client(_GREETS),
        expect=red("hello", "dockerd has no record of this run"),
        also=("mount",),
    ),
    container_fault(
        "F41-image",
        "another image has the name hello-world",
        client(_SWAPS),
        expect=red("hello", "was never pulled as hello-world"),
    ),
    node_fault(
        "F41-witness",
        "the node cannot query dockerd",
        'wrap /usr/bin/perl \'case "$*" in *openat2*) echo no such call >&2; exit 3 ;; esac\n'
        'exec "$real" "$@"\'',
        expect=undetermined("hello", "cannot find out whether dockerd runs", "no such call")
        | undetermined("driver", "no such call")
        | undetermined("installed", "no such call")
        | undetermined("settings", "no such call")
        | undetermined("there", "no such call")
        | undetermined("refused", "no such call"),
    ),
    container_fault(
        "F42",
        "the container has no docker client",
        "inside mv /usr/bin/docker /usr/bin/docker.off",
        expect=red("has-docker", "the container has no docker client")
        | red("driver", "Docker does not answer"),
        also=DOWN,
        rollback="inside mv /usr/bin/docker.off /usr/bin/docker",
    ),
)
