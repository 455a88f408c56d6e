"""The commands that read or change the configuration, and the table of all of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import generated, lxc
from .config import network, properties
from .errors import PctError
from .files import load, locked, store
from .lifecycle import check_lock, shutdown, start, stop
from .provision import create, destroy, hwaddr
from .transfer import push

if TYPE_CHECKING:
    from .config import Config
    from .containers import Containers

REQUIRED = ("memory", "rootfs", "ostype")
# Proxmox changes these in a running container; all others wait for its next start.
HOT = ("description", "onboot", "startup", "protection", "hostname", "cores", "tags", "lock")


def list_all(node: Containers, _positional: list[str], _chosen: dict[str, str]) -> int:
    """All containers, or nothing at all, not even a header."""
    files = Path(f"{node.root}/etc/pve/lxc").glob("[0-9]*.conf")
    ctids = sorted((path.stem for path in files), key=int)
    rows = [("VMID", "Status", "Lock", "Name")] * bool(ctids)
    for ctid in ctids:
        section = load(node, ctid).current
        state = "running" if node.running(ctid) else "stopped"
        rows.append((ctid, state, section.get("lock"), section.get("hostname", f"CT{ctid}")))
    for ctid, state, lock, name in rows:
        sys.stdout.write(f"{ctid:<10} {state:<10} {lock:<12} {name:<20}\n")
    return 0


def config(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """What will be in effect after the next start; ``--current``: what is."""
    (ctid,) = positional
    known = load(node, ctid)
    section = known.current if chosen.get("current") == "1" else known.wanted()
    sys.stdout.write(section.printed())
    return 0


def pending(node: Containers, positional: list[str], _chosen: dict[str, str]) -> int:
    """Every option, and the value that waits for the next start."""
    (ctid,) = positional
    known = load(node, ctid)
    current, waiting = known.current.options(), known.pending.options()
    gone = known.deletions()
    for name in sorted({*current, *waiting} - {"delete"}):
        if name in current:
            sys.stdout.write(f"{'del' if name in gone else 'cur'} {name}: {current[name]}\n")
        if name in waiting and name not in gone:
            sys.stdout.write(f"new {name}: {waiting[name]}\n")
    return 0


def set_options(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Change options: at once where that is possible, else at the next start."""
    (ctid,) = positional
    with locked(node, ctid):
        known = load(node, ctid, quiet=True)
        if not chosen:
            raise PctError("no options specified\n")
        check_lock(known)
        changes = _changes(known, dict(chosen))
        known = _applied(node, ctid, known, changes, chosen.get("revert", ""))
        store(node, ctid, known)
        sys.stderr.write(generated.write(node, ctid, known.current))
    return 0


def _changes(known: Config, chosen: dict[str, str]) -> dict[str, str | None]:
    """Each option's new value, None for one that is removed, in Proxmox's order."""
    removed = [name for name in chosen.pop("delete", "").replace(";", ",").split(",") if name]
    chosen.pop("revert", None)
    for name in removed:
        if name in REQUIRED:
            raise PctError(f"unable to delete required option '{name}'\n")
        if name == "unprivileged":
            raise PctError(f"unable to delete read-only option: '{name}'\n")
        if known.current.option(name) is None and known.pending.option(name) is None:
            sys.stderr.write(f"cannot delete '{name}' - not set in current configuration!\n")
    for name in sorted(chosen):
        if name == "unprivileged":
            raise PctError(f"unable to modify read-only option: '{name}'\n")
        if name == "rootfs":
            raise PctError("not supported on this node: another root file system\n")
        if name.startswith("net"):
            old = properties(known.current.get(name)).get("hwaddr") or hwaddr()
            chosen[name] = network(chosen[name], old)
    return {**dict.fromkeys(removed), **dict(sorted(chosen.items()))}


def _applied(
    node: Containers, ctid: str, known: Config, changes: dict[str, str | None], revert: str
) -> Config:
    running = node.running(ctid)
    for name in filter(None, revert.split(",")):
        known = known.queue(name, known.current.option(name))
    for name, value in changes.items():
        hot = name in HOT or name == "swap" or (name == "memory" and value is not None)
        known = known.set_now(name, value) if hot or not running else known.queue(name, value)
    if running and {"memory", "swap"} & set(changes):
        node.limit(ctid, lxc.memory_limits(known.current))
    return known


def unlock(node: Containers, positional: list[str], _chosen: dict[str, str]) -> int:
    """Remove the lock key, whoever set it."""
    (ctid,) = positional
    with locked(node, ctid):
        known = load(node, ctid)
        if not known.current.get("lock"):
            raise PctError("no lock found trying to remove any lock\n")
        store(node, ctid, known.set_now("lock", None))
    return 0


BY_NAME = {
    "config": config,
    "create": create,
    "destroy": destroy,
    "list": list_all,
    "pending": pending,
    "push": push,
    "set": set_options,
    "shutdown": shutdown,
    "start": start,
    "stop": stop,
    "unlock": unlock,
}
