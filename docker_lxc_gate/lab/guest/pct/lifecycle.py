"""start, stop, shutdown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import generated, guest, lxc, storage
from .errors import PctError
from .files import load, locked, store

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .config import Config
    from .containers import Containers

SHUTDOWN_TIMEOUT = "60"


def start(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Apply what is pending, generate LXC's configuration, start."""
    (ctid,) = positional
    if node.running(ctid):
        raise PctError(f"CT {ctid} already running\n")
    with locked(node, ctid):
        config = load(node, ctid, task=True)
        if chosen.get("skiplock") != "1":
            check_lock(config)
        begin(node, ctid, config, debug=chosen.get("debug") == "1")
    return 0


def begin(node: Containers, ctid: str, config: Config, *, debug: bool = False) -> None:
    """The same, for a caller who holds the lock.

    Raises:
        PctError: it did not start; LXC's reasons are on standard output.
    """
    if config.pending.keys:
        config = config.applied()
        store(node, ctid, config)
    lxc.require_supported(config.current)
    sys.stdout.write(generated.write(node, ctid, config.current))
    guest.personalise(storage.directory(node, ctid, config.current), config.current)
    sys.stdout.flush()
    started = node.start(ctid, debug=debug)
    if not started.running:
        sys.stdout.write(lxc.failure_lines(started.stderr))
    sys.stdout.write(started.log)
    if not started.running:
        raise PctError(f"startup for container '{ctid}' failed\n")


def stop(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Stop hard."""
    (ctid,) = positional
    with _stopping(node, ctid, f"CT {ctid} not running\n"):
        if chosen.get("skiplock") != "1":
            check_lock(load(node, ctid, task=True))
        node.kill(ctid)
        _warn(node, ctid)
    return 0


def shutdown(node: Containers, positional: list[str], chosen: dict[str, str]) -> int:
    """Ask the container's init to halt."""
    (ctid,) = positional
    with _stopping(node, ctid, f"CT {ctid} not running\n"):
        check_lock(load(node, ctid, task=True))
        _halt(node, ctid, chosen)
        _warn(node, ctid)
    return 0


def check_lock(config: Config) -> None:
    """Refuse what must not happen while a backup or the like holds the container.

    Raises:
        PctError: there is a ``lock`` key.
    """
    if lock := config.current.get("lock"):
        raise PctError(f"CT is locked ({lock})\n")


def _stopping(node: Containers, ctid: str, refusal: str) -> AbstractContextManager[None]:
    if not node.running(ctid):
        raise PctError(refusal)
    return locked(node, ctid)


def _warn(node: Containers, ctid: str) -> None:
    """Say on standard error what an explicit profile switches off, as was seen at each stop."""
    section = load(node, ctid, quiet=True).current
    sys.stderr.write(lxc.overridden(section))


def _halt(node: Containers, ctid: str, chosen: dict[str, str]) -> None:
    timeout = chosen.get("timeout", SHUTDOWN_TIMEOUT)
    if node.shutdown(ctid, float(timeout)):
        return
    if chosen.get("forceStop") != "1":
        raise PctError(f"container '{ctid}' did not stop within {timeout} seconds\n")
    node.kill(ctid)
