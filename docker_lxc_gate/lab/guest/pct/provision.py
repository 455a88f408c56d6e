"""create, destroy."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from . import guest, lxc, storage
from .config import Config, Section, network
from .errors import PctError
from .files import config_path, load, locked, store
from .lifecycle import check_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from .containers import Lxc

NESTING_WANTED_SINCE = 232  # systemd's version from which Proxmox warns
#: All templates of the lab are Debian's, for amd64.
DEFAULTS = {
    "arch": "amd64",
    "memory": "512",
    "ostype": "debian",
    "swap": "512",
    "unprivileged": "1",
}


def create(node: Lxc, positional: list[str], chosen: dict[str, str]) -> int:
    """Make a container from a template."""
    ctid, archive = positional
    with locked(node, ctid):
        config = _new(node, ctid, lambda: _from_template(node, ctid, archive, chosen))
    return _warned(node, ctid, config)


def destroy(node: Lxc, positional: list[str], _chosen: dict[str, str]) -> int:
    """Remove a stopped container and everything of it."""
    (ctid,) = positional
    with locked(node, ctid):
        config = load(node, ctid)
        check_lock(config)
        if config.current.get("protection") == "1":
            raise PctError(f"can't remove CT {ctid} - protection mode enabled\n")
        if node.running(ctid):
            raise PctError(f"unable to destroy CT {ctid} - container is running\n")
        storage.remove_all(node, ctid)
        config_path(node, ctid).unlink()
    return 0


def hwaddr() -> str:
    """A random address below Proxmox's own prefix."""
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in os.urandom(3))


def _new(node: Lxc, ctid: str, build: Callable[[], Section]) -> Config:
    """Reserve the id, build, store; leave nothing behind if that fails."""
    if config_path(node, ctid).exists():
        raise PctError(f"CT {ctid} already exists on node '{node.name}'\n", 2)
    store(node, ctid, Config(Section({"lock": "create"})))
    try:
        config = Config(build())
        store(node, ctid, config)
    except (PctError, OSError) as error:
        storage.remove_all(node, ctid)
        config_path(node, ctid).unlink()
        reason = str(error).rstrip("\n")
        sys.stdout.write(f"{reason}\n")
        raise PctError(f"unable to create CT {ctid} - {reason}\n") from error
    return config


def _from_template(node: Lxc, ctid: str, archive: str, chosen: dict[str, str]) -> Section:
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


def _warned(node: Lxc, ctid: str, config: Config) -> int:
    """Proxmox ends with 0 all the same, and says on standard error that there was something."""
    section = config.current
    nesting = lxc.features(section).get("nesting") == "1"
    version = guest.systemd_version(storage.directory(node, ctid, section)) or 0
    if nesting or not lxc.unprivileged(section) or version < NESTING_WANTED_SINCE:
        return 0
    sys.stdout.write(f"WARN: Systemd {version} detected. You may need to enable nesting.\n")
    raise PctError("Task finished with 1 warning(s)!\n", 0)
