"""snapshot, delsnapshot, rollback, listsnapshot."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from . import storage
from .errors import PctError
from .files import load, locked, store
from .lifecycle import begin, check_lock

if TYPE_CHECKING:
    from .config import Config, Section
    from .containers import Containers

_NAME_WIDTH = 28  # of a root's name; a column less for each level below


def snapshot(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Copy the container's root file system and the section in effect."""
    ctid, name = positional
    with locked(node, ctid):
        config = load(node, ctid, task=True)
        check_lock(config)
        if name in config.snapshots:
            raise PctError(f"snapshot name '{name}' already used\n")
        if not storage.can_snapshot(config.current):
            raise PctError("snapshot feature is not available\n")
        volume = storage.directory(node, ctid, config.current)
        with node.frozen(ctid) if node.running(ctid) else nullcontext():
            storage.copy(node, volume, storage.snapshot_directory(volume, name))
        description = chosen.get("description", "")
        store(node, ctid, config.with_snapshot(name, int(time.time()), description))
    return 0


def delsnapshot(node: Containers, positional: list[str], _chosen: dict[str, str]) -> int:
    """Remove a snapshot."""
    ctid, name = positional
    with locked(node, ctid):
        config = _with_snapshot(node, ctid, name)
        volume = storage.directory(node, ctid, config.current)
        storage.remove(node, storage.snapshot_directory(volume, name))
        store(node, ctid, config.without_snapshot(name))
    return 0


def rollback(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Put root file system and configuration back; a running container is stopped hard."""
    ctid, name = positional
    with locked(node, ctid):
        config = _with_snapshot(node, ctid, name)
        if node.running(ctid):
            node.kill(ctid)
            config = load(node, ctid, quiet=True)
        volume = storage.directory(node, ctid, config.current)
        storage.replace(node, storage.snapshot_directory(volume, name), volume)
        config = config.rolled_back(name)
        store(node, ctid, config)
        if chosen.get("start") == "1":
            begin(node, ctid, config)
    return 0


def listsnapshot(node: Containers, positional: list[str], _chosen: dict[str, str]) -> int:
    """The tree of snapshots, and where the container stands in it."""
    (ctid,) = positional
    config = load(node, ctid)
    here = config.current.with_option("description", "You are here!")
    known = {**config.snapshots, "current": here.with_keys(snaptime=None)}
    roots = [name for name in known if known[name].get("parent") not in config.snapshots]
    for name in sorted(roots, key=lambda name: _age(known[name])):
        _print_tree(known, name, "`->")
    return 0


def _print_tree(known: dict[str, Section], name: str, prefix: str) -> None:
    section = known[name]
    stamp = section.get("snaptime")
    when = time.strftime("%F %H:%M:%S", time.localtime(int(stamp))) if stamp else ""
    about = section.description.split("\n")[0] or "no-description"
    width = _NAME_WIDTH + len("`->") - len(prefix)
    sys.stdout.write(f"{prefix} {name:<{width - 1}} {when:<23} {about}\n")
    children = [child for child in known if known[child].get("parent") == name]
    for child in sorted(children, key=lambda child: _age(known[child])):
        _print_tree(known, child, f" {prefix}")


def _age(section: Section) -> float:
    """The time it was taken; what has none is now, and comes last."""
    return float(section.get("snaptime") or "inf")


def _with_snapshot(node: Containers, ctid: str, name: str) -> Config:
    config = load(node, ctid, task=True)
    check_lock(config)
    if name not in config.snapshots:
        raise PctError(f"snapshot '{name}' does not exist\n")
    return config
