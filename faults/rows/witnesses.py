"""A witness in the container that lies: the second witness, on the node, contradicts it."""

from __future__ import annotations

from faults.fault import container_fault, red, undetermined
from faults.rows.docker import DOWN, RESTART, VFS, client, push
from steps import hello

#: dockerd runs on vfs, although its settings file names fuse-overlayfs again.
VFS_UNSEEN = f"""
inside sed -i.real s/fuse-overlayfs/vfs/ "$settings"; {RESTART}
inside mv "$settings.real" "$settings"
"""
#: A server on the node that answers like a healthy dockerd.
NODES_OWN = r"""
cat >/run/nodes-own.py <<'PROGRAM'
import json, socket
image = "sha256:" + 64 * "0"
state = {"Status": "exited", "ExitCode": 0, "Error": ""}
said = {"Id": 64 * "0", "Image": image, "State": state, "RepoDigests": ["hello-world@" + image]}
own = socket.socket(socket.AF_UNIX)
own.bind("/run/nodes-own.sock")
own.listen()
while True:
    connection, _ = own.accept()
    open("/run/nodes-own.touched", "w").close()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(said).encode())
    connection.close()
PROGRAM
systemd-run -q --unit=nodes-own python3 /run/nodes-own.py
"""


FAULTS = (
    container_fault(
        "F41-socket",
        "the path of dockerd's socket is a link to a socket of the node",
        NODES_OWN
        + "inside mv /run/docker.sock /run/its-own.sock\n"
        + "inside ln -s /run/nodes-own.sock /run/docker.sock\n"
        + client('exec /usr/bin/docker.real -H unix:///run/its-own.sock "$@"'),
        expect=undetermined(
            "driver",
            "dockerd's socket cannot be queried: /run/docker.sock is not in container {ctid}",
        )
        | undetermined(
            "hello",
            "dockerd's socket cannot be queried: /run/docker.sock is not in container {ctid}",
        ),
        also=("mount", "denials", "again"),
    ),
    container_fault(
        "F30-script",
        "docker in the container is a script, and dockerd runs on vfs",
        VFS_UNSEEN + client('/usr/bin/docker.real "$@" | sed \'s/"vfs"/"fuse-overlayfs"/\''),
        expect=red(
            "driver",
            "storage driver is 'vfs'",
            "docker info in the container says driver 'fuse-over",
        ),
        also=DOWN,
    ),
    container_fault(
        "F30-context",
        "docker in the container queries another daemon, and dockerd runs on vfs",
        f"""{VFS_UNSEEN}
        inside systemd-run -q --unit=another dockerd --data-root /var/lib/docker/another \\
            --exec-root /run/another --pidfile /run/another.pid --bridge none --iptables=false \\
            --config-file /dev/null -H unix:///run/another.sock --storage-driver fuse-overlayfs
        until inside docker -H unix:///run/another.sock info >/dev/null 2>&1; do sleep 1; done
        inside env HOME=/root docker context create other --docker host=unix:///run/another.sock
        inside env HOME=/root docker context use other
        """,
        expect=red(
            "driver",
            "storage driver is 'vfs'",
            "docker info in the container says driver 'fuse-over",
        ),
        also=DOWN,
    ),
    container_fault(
        "F30-cause",
        "Docker stores its layers with vfs, and each failure that follows says so",
        VFS,
        expect=red("hello", "storage driver is 'vfs', not 'fuse-overlayfs': hello-world ended with")
        | red("installed", "names the storage driver 'vfs'")
        | red("driver", "storage driver is 'vfs'")
        | red("mount", "storage driver is 'vfs', not 'fuse-overlayfs': "),
        also=("denials", "again"),
    ),
    container_fault(
        "F41-registry",
        "another image has hello-world's name in the registry, and prints the greeting",
        lambda node: push(node, hello.docker_archive("another:latest")),
        expect=red("hello", "another image has the name hello-world in the registry"),
    ),
    container_fault(
        "F33-elsewhere",
        "dockerd reads its settings from a file other than daemon.json",
        'inside cp "$settings" /etc/docker/elsewhere.json\n'
        'inside sh -c \'echo DOCKER_OPTS="--config-file /etc/docker/elsewhere.json" '
        ">>/etc/default/docker'\n" + RESTART,
        expect=red("installed", "dockerd reads its settings from '/etc/docker/elsewhere.json'")
        | undetermined("settings", "dockerd reads its settings from '/etc/docker/elsewhere.json'"),
        also=("denials", "again"),
    ),
    container_fault(
        "F02-device",
        "another device has the name /dev/fuse in the container",
        "sed -i '1i lxc.mount.entry: /dev/null dev/fuse none bind,create=file 0 0' \"$conf\"; "
        "restart",
        expect=red("there", "/dev/fuse in the container is a character device 1:3"),
        also=("mount", "hello", "denials", "again"),
    ),
)
