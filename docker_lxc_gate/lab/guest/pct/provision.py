"""create, destroy."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from . import guest, lxc, storage
from .config import Config, Section, network
from .errors import PctError
from .files import config_path, load, locked, store
from .lifecycle import begin, check_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from .containers import Containers

NESTING_WANTED_SINCE = 232  # systemd's version from which Proxmox warns
DEFAULTS = {"memory": "512", "swap": "512", "unprivileged": "1"}
_NOT_OPTIONS = ("description", "start", "storage")


def create(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Make a container from a template."""
    ctid, archive = positional
    with locked(node, ctid):
        config = _new(node, ctid, lambda: _from_template(node, ctid, archive, chosen))
        if chosen.get("start") == "1":
            begin(node, ctid, config)
    return _warned(node, ctid, config)


def destroy(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Remove a container and everything of it."""
    (ctid,) = positional
    with locked(node, ctid):
        config = load(node, ctid)
        check_lock(config)
        if config.current.get("protection") == "1":
            raise PctError(f"can't remove CT {ctid} - protection mode enabled\n")
        if node.running(ctid):
            if chosen.get("force") != "1":
                raise PctError(f"unable to destroy CT {ctid} - container is running\n")
            node.kill(ctid)
        storage.remove_all(node, ctid)
        if chosen.get("purge") == "1":
            sys.stdout.write(f"purging CT {ctid} from related configurations..\n")
        config_path(node, ctid).unlink()
    return 0


def hwaddr() -> str:
    """A random address below Proxmox's own prefix."""
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in os.urandom(3))


def _new(node: Containers, ctid: str, build: Callable[[], Section]) -> Config:
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


def _from_template(node: Containers, ctid: str, archive: str, chosen: dict[str, str]) -> Section:
    given = {name: value for name, value in chosen.items() if name not in _NOT_OPTIONS}
    for name in [name for name in given if name.startswith("net")]:
        given[name] = network(given[name], hwaddr())
    requested = given.get("rootfs", f"{chosen.get('storage', 'local')}:4")
    given["rootfs"] = storage.allocate(ctid, requested)
    section = Section({**DEFAULTS, "hostname": f"CT{ctid}", **given})
    path = storage.template(node, archive)
    rootfs = storage.directory(node, ctid, section)
    sys.stdout.write(f"extracting archive '{str(path).removeprefix(node.root)}'\n")
    node.unpack(path, rootfs, mapped=lxc.unprivileged(section))
    found = guest.architecture(rootfs)
    sys.stdout.write(
        f"Detected container architecture: {found}\n"
        if found
        else "Architecture detection failed\n\nFalling back to amd64.\n"
    )
    guest.personalise(rootfs, section)
    detected = {"arch": found or "amd64", "ostype": guest.ostype(rootfs)}
    section = Section({**detected, **section.keys})
    return section.with_option("description", chosen.get("description"))


def _warned(node: Containers, ctid: str, config: Config) -> int:
    """Proxmox ends with 0 all the same, and says on standard error that there was something."""
    section = config.current
    nesting = lxc.features(section).get("nesting") == "1"
    version = guest.systemd_version(storage.directory(node, ctid, section)) or 0
    if nesting or not lxc.unprivileged(section) or version < NESTING_WANTED_SINCE:
        return 0
    sys.stdout.write(f"WARN: Systemd {version} detected. You may need to enable nesting.\n")
    raise PctError("Task finished with 1 warning(s)!\n", 0)
