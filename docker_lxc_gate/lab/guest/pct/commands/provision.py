"""create, destroy."""

from __future__ import annotations

import os
import sys

from .. import guest, lxc, storage
from ..config import Config, Section, network
from ..containers import LxcHost
from ..errors import PctError
from ..files import config_path, load, locked, store
from .lifecycle import check_lock

#: All templates of the lab are Debian's, for amd64.
DEFAULTS = {
    "arch": "amd64",
    "memory": "512",
    "ostype": "debian",
    "swap": "512",
    "unprivileged": "1",
}


def create(node: LxcHost, positional: list[str], chosen: dict[str, str]) -> int:
    """Reserve the id, make a container from a template; leave nothing behind if that fails."""
    ctid, archive = positional
    with locked(node, ctid):
        if config_path(node, ctid).exists():
            raise PctError(f"CT {ctid} already exists on node '{node.name}'\n", 2)
        store(node, ctid, Config(Section({"lock": "create"})))
        try:
            store(node, ctid, Config(_from_template(node, ctid, archive, chosen)))
        except (PctError, OSError) as error:
            storage.remove_all(node, ctid)
            config_path(node, ctid).unlink()
            reason = str(error).rstrip("\n")
            sys.stdout.write(f"{reason}\n")
            raise PctError(f"unable to create CT {ctid} - {reason}\n") from error
    return 0


def destroy(node: LxcHost, positional: list[str], _chosen: dict[str, str]) -> int:
    """Remove a stopped container and everything of it."""
    (ctid,) = positional
    with locked(node, ctid):
        config = load(node, ctid)
        check_lock(config)
        if node.running(ctid):
            raise PctError(f"unable to destroy CT {ctid} - container is running\n")
        storage.remove_all(node, ctid)
        config_path(node, ctid).unlink()
    return 0


def hwaddr() -> str:
    """A random address below Proxmox's own prefix."""
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in os.urandom(3))


def _from_template(node: LxcHost, ctid: str, archive: str, chosen: dict[str, str]) -> Section:
    given = {name: value for name, value in chosen.items() if name != "description"}
    for name in [name for name in given if name.startswith("net")]:
        given[name] = network(given[name], hwaddr())
    given["rootfs"] = storage.allocate(ctid, given.get("rootfs", "local:4"))
    section = Section({**DEFAULTS, "hostname": f"CT{ctid}", **given})
    path = storage.template(node, archive)
    rootfs = storage.directory(node, ctid, section)
    sys.stdout.write(f"extracting archive '{str(path).removeprefix(node.root)}'\n")
    node.unpack(path, rootfs, mapped=lxc.unprivileged(section))
    sys.stdout.write("Detected container architecture: amd64\n")
    guest.personalise(rootfs, section)
    return section.with_option("description", chosen.get("description"))
