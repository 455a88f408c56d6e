"""All commands but those that start and stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from . import guest, lxc
from .config import Config, Section, network
from .errors import PctError
from .files import config_path, load, locked, store
from .host import Host
from .lifecycle import check_lock, generate, volume

#: All templates of the lab are Debian's, for amd64.
_DEFAULTS = {
    "arch": "amd64",
    "memory": "512",
    "ostype": "debian",
    "swap": "512",
    "unprivileged": "1",
}
_CHUNK = 1 << 20


def execute(node: Host, positional: list[str], chosen: Mapping[str, str]) -> int:
    """Run a command inside: from here on lxc-attach's exit code is ours."""
    ctid, *command = positional
    load(node, ctid)
    if not node.running(ctid):
        raise PctError(f"container '{ctid}' not running!\n")
    sys.stderr.flush()
    clear = ["--clear-env"] if chosen.get("keep-env") == "0" else []
    node.become(["lxc-attach", "-n", ctid, *clear, "--", *command])
    return 0


def status(node: Host, positional: list[str], _chosen: Mapping[str, str]) -> int:
    """Whether it runs."""
    (ctid,) = positional
    load(node, ctid)
    sys.stdout.write(f"status: {'running' if node.running(ctid) else 'stopped'}\n")
    return 0


def snapshot(node: Host, positional: list[str], _chosen: Mapping[str, str]) -> int:
    """A directory can hold no snapshot, as Proxmox says of such a storage, too."""
    load(node, positional[0])
    raise PctError("snapshot feature is not available\n")


def config(node: Host, positional: list[str], chosen: Mapping[str, str]) -> int:
    """What will be in effect after the next start; ``--current``: what is."""
    known = load(node, positional[0])
    section = known.current if "current" in chosen else known.wanted()
    sys.stdout.write(section.printed())
    return 0


def set_options(node: Host, positional: list[str], chosen: Mapping[str, str]) -> int:
    """Change options of a stopped container, and bring what is pending into effect."""
    (ctid,) = positional
    with locked(node, ctid):
        known = load(node, ctid, quiet=True)
        check_lock(known)
        if node.running(ctid):
            raise PctError("not supported on this node: changing a running container\n")
        changes = dict(chosen)
        gone = dict.fromkeys(filter(None, changes.pop("delete", "").split(",")))
        section = known.wanted().with_keys(**gone | changes)
        store(node, ctid, replace(known.applied(), current=section))
        sys.stderr.write(generate(node, ctid, section))
    return 0


def create(node: Host, positional: list[str], chosen: Mapping[str, str]) -> int:
    """Reserve the id, make a container from a template; leave nothing behind if that fails."""
    ctid, archive = positional
    with locked(node, ctid):
        if config_path(node, ctid).exists():
            raise PctError(f"CT {ctid} already exists on node '{node.name}'\n", 2)
        store(node, ctid, Config(Section({"lock": "create"})))
        try:
            store(node, ctid, Config(_from_template(node, ctid, archive, chosen)))
        except (PctError, OSError) as error:
            _remove(node, ctid)
            reason = str(error).rstrip("\n")
            sys.stdout.write(f"{reason}\n")
            raise PctError(f"unable to create CT {ctid} - {reason}\n") from error
    return 0


def destroy(node: Host, positional: list[str], _chosen: Mapping[str, str]) -> int:
    """Remove a stopped container and everything of it."""
    (ctid,) = positional
    with locked(node, ctid):
        check_lock(load(node, ctid))
        if node.running(ctid):
            raise PctError(f"unable to destroy CT {ctid} - container is running\n")
        _remove(node, ctid)
    return 0


def _from_template(node: Host, ctid: str, archive: str, chosen: Mapping[str, str]) -> Section:
    given = {**_DEFAULTS, "hostname": f"CT{ctid}", "rootfs": "local:4", **chosen}
    if "net0" in given:
        random = ":".join(f"{byte:02X}" for byte in os.urandom(3))
        given["net0"] = network(given["net0"], f"BC:24:11:{random}")  # Proxmox's own prefix
    rootfs, size = volume(node, ctid), given["rootfs"].removeprefix("local:")
    given["rootfs"] = f"local:{ctid}/{rootfs.name},size={size}G"
    about = given.pop("description", "")
    section = Section(given).with_description(about)
    name = archive.removeprefix("local:vztmpl/")
    path = Path(f"{node.root}/var/lib/vz/template/cache/{name}")
    if not path.is_file():
        raise PctError(f"volume '{archive}' does not exist\n")
    sys.stdout.write(f"extracting archive '{str(path).removeprefix(node.root)}'\n")
    node.unpack(path, rootfs, mapped=lxc.unprivileged(section))
    sys.stdout.write("Detected container architecture: amd64\n")
    guest.personalise(rootfs, section)
    return section


def _remove(node: Host, ctid: str) -> None:
    """Remove a container's volume, generated files and configuration."""
    generated = f"{node.root}/var/lib/lxc/{ctid}"
    node.run(["rm", "-rf", "--one-file-system", str(volume(node, ctid).parent), generated])
    config_path(node, ctid).unlink()


def push(node: Host, positional: list[str], chosen: Mapping[str, str]) -> int:
    """Copy a file of the node into a running container, as the container's root.

    With exit code 0 when that failed: Proxmox does not look at the task's end.
    """
    ctid, source, destination = positional
    if not node.running(ctid):
        raise PctError("can only push files to a running CT\n")
    user = lxc.unprivileged(load(node, ctid).current)
    reader = os.open(source, os.O_RDONLY)
    # From here on this process is inside: links lead nowhere but into the container. It never
    # comes back out.
    node.enter(ctid, user=user)
    writer = _created(destination, chosen.get("perms"))
    while chunk := os.read(reader, _CHUNK):
        view = memoryview(chunk)
        while view:
            view = view[os.write(writer, view) :]
    return 0


def _created(path: str, asked: str | None) -> int:
    """Open the target; it gets the mode asked for, or if it is new 0666 without the umask."""
    mode = int(asked or "666", 8)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0 if asked else mode)
    except OSError as error:
        raise PctError(f"failed to create file: {path}: {error.strerror}\n", 0) from None
    if asked:
        os.fchmod(number, mode)
    return number
