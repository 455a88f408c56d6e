"""Changes that a comparison must detect, and obstacles that a message must name."""

from __future__ import annotations

from faults.fault import OTHER, Fault, node_fault, red, undetermined

FAULTS = (
    node_fault(
        "F51-prune",
        "a second run prunes Docker's images and stopped containers",
        "inside docker run --name stopped hello-world >/dev/null; "
        "echo 'inside docker system prune -af >/dev/null' >>\"$install\"",
        expect=red(
            "again", "a second run changed", "docker container stopped", "docker image sha256:"
        ),
    ),
    node_fault(
        "F51-volumes",
        "a second run prunes Docker's volumes",
        "inside docker volume create mine >/dev/null; "
        "echo 'inside docker volume prune -af >/dev/null' >>\"$install\"",
        expect=red("again", "a second run changed", "docker volume mine"),
    ),
    node_fault(
        "F51-network",
        "a second run deletes a Docker network and creates it again under the same name",
        "inside docker network create mine >/dev/null; "
        "echo 'inside sh -c \"docker network rm mine; docker network create mine\" >/dev/null' "
        '>>"$install"',
        expect=red("again", "a second run changed", "docker network mine"),
    ),
    node_fault(
        "F51-containerd",
        "a second run restarts containerd while Docker keeps running",
        "echo 'inside systemctl restart containerd' >>\"$install\"",
        expect=red("again", "a second run changed", "process containerd"),
    ),
    Fault(
        "F30-data-root",
        "Docker keeps its data where the profile allows no mount",
        'inside sed -i \'0,/{/s||{"data-root": "/srv/docker",|\' "$settings"; '
        "inside systemctl restart docker",
        expect=red(
            "mount",
            "Docker keeps its data in /srv/docker (data-root)",
            "'mount fstype=fuse.fuse-overlayfs -> /srv/docker/fuse-overlayfs/**,'",
        ),
    ),
    Fault(
        "F60-immutable",
        "a file that the plan changes is immutable",
        ': >>"$tunable"; chattr +i "$tunable"',
        expect=undetermined(
            "tunable-back",
            "tunables/nesting cannot be changed, even by root",
            "lsattr -d",
            "chattr -i",
        ),
        start=OTHER,
    ),
)
