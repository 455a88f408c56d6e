"""The commands that read or change the configuration, and the table of all of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from ..config import Config, network, properties
from ..containers import LxcHost
from ..errors import PctError
from ..files import load, locked, store
from .lifecycle import check_lock, generate, shutdown, start, stop
from .provision import create, destroy, hwaddr
from .transfer import push


def list_all(node: LxcHost, _positional: list[str], _chosen: dict[str, str]) -> int:
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


def config(node: LxcHost, positional: list[str], chosen: dict[str, str]) -> int:
    """What will be in effect after the next start; ``--current``: what is."""
    (ctid,) = positional
    known = load(node, ctid)
    section = known.current if chosen.get("current") == "1" else known.wanted()
    sys.stdout.write(section.printed())
    return 0


def set_options(node: LxcHost, positional: list[str], chosen: dict[str, str]) -> int:
    """Change options of a stopped container, and bring what is pending into effect."""
    (ctid,) = positional
    with locked(node, ctid):
        known = load(node, ctid, quiet=True)
        if not chosen:
            raise PctError("no options specified\n")
        check_lock(known)
        changes = _changes(known, dict(chosen))
        if node.running(ctid):
            raise PctError("not supported on this node: changing a running container\n")
        section = known.wanted()
        for name, value in changes.items():
            section = section.with_option(name, value)
        store(node, ctid, replace(known.applied(), current=section))
        sys.stderr.write(generate(node, ctid, section))
    return 0


def _changes(known: Config, chosen: dict[str, str]) -> dict[str, str | None]:
    """Each option's new value, None for one that is removed, in Proxmox's order."""
    removed = filter(None, chosen.pop("delete", "").split(","))
    for name in sorted(chosen):
        if name == "unprivileged":
            raise PctError(f"unable to modify read-only option: '{name}'\n")
        if name == "rootfs":
            raise PctError("not supported on this node: another root file system\n")
        if name.startswith("net"):
            old = properties(known.current.get(name)).get("hwaddr") or hwaddr()
            chosen[name] = network(chosen[name], old)
    return {**dict.fromkeys(removed), **dict(sorted(chosen.items()))}


BY_NAME = {
    "config": config,
    "create": create,
    "destroy": destroy,
    "list": list_all,
    "push": push,
    "set": set_options,
    "shutdown": shutdown,
    "start": start,
    "stop": stop,
}
