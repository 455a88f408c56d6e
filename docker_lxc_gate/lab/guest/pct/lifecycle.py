"""start, stop, shutdown, and what Proxmox generates at each of them and at set."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import guest, lxc
from .config import Config, Section
from .errors import PctError
from .files import load, locked, replace_file, store
from .host import Host

#: What LXC logs with ``pct start --debug``: as Proxmox's pve-container-debug@.service has it.
_DEBUG = ("-o", "/dev/stderr", "-l", "DEBUG")


def start(node: Host, positional: list[str], chosen: Mapping[str, str]) -> int:
    """Apply what is pending, generate LXC's configuration, start."""
    (ctid,) = positional
    if node.running(ctid):
        raise PctError(f"CT {ctid} already running\n")
    with locked(node, ctid):
        config = load(node, ctid, 255)
        check_lock(config)
        if config.pending.keys:
            config = config.applied()
            store(node, ctid, config)
        lxc.require_supported(config.current)
        sys.stdout.write(generate(node, ctid, config.current))
        guest.personalise(volume(node, ctid), config.current)
        sys.stdout.flush()
        debug = "debug" in chosen
        runs, words = node.start(ctid, *(_DEBUG if debug else ()))
        if debug or not runs:
            sys.stdout.write(lxc.failure_lines(words))
        if not runs:
            raise PctError(f"startup for container '{ctid}' failed\n")
    return 0


def stop(node: Host, positional: list[str], _chosen: Mapping[str, str]) -> int:
    """Stop hard."""
    (ctid,) = positional
    with _stopping(node, ctid):
        node.kill(ctid)
    return 0


def shutdown(node: Host, positional: list[str], chosen: Mapping[str, str]) -> int:
    """Ask the container's init to halt."""
    (ctid,) = positional
    timeout = chosen.get("timeout", "60")
    with _stopping(node, ctid):
        if not node.shutdown(ctid, float(timeout)):
            if chosen.get("forceStop") != "1":
                raise PctError(f"container '{ctid}' did not stop within {timeout} seconds\n")
            node.kill(ctid)
    return 0


def volume(node: Host, ctid: str) -> Path:
    """Where a container's root file system is: ``local``, the only storage, has directories."""
    return Path(f"{node.root}/var/lib/vz/images/{ctid}/subvol-{ctid}-disk-0.subvol")


def generate(node: Host, ctid: str, section: Section) -> str:
    """Write ``/var/lib/lxc/<ctid>`` anew: LXC's configuration, and its seccomp rules.

    Returns what an explicit profile overrides. Nothing is written, and PctError raised, if Proxmox
    cannot parse a value.
    """
    apparmor_4 = any(Path(f"{node.root}/etc/apparmor.d/abi").glob("[4-9].*"))
    rootfs = str(volume(node, ctid))
    text, overridden = lxc.generate(ctid, section, rootfs, apparmor_4=apparmor_4)
    common = Path(f"{node.root}{lxc.INCLUDES}/common.seccomp").read_text(encoding="utf-8")
    folder = Path(f"{node.root}/var/lib/lxc/{ctid}")
    replace_file(folder / "config", text)
    replace_file(folder / "rules.seccomp", lxc.seccomp(section, common))
    return overridden


def check_lock(config: Config) -> None:
    """Raise PctError if a backup or the like holds the container, by its ``lock`` key."""
    if lock := config.current.get("lock"):
        raise PctError(f"CT is locked ({lock})\n")


@contextmanager
def _stopping(node: Host, ctid: str) -> Iterator[None]:
    """Hold the lock of a running container."""
    if not node.running(ctid):
        raise PctError(f"CT {ctid} not running\n")
    with locked(node, ctid):
        check_lock(load(node, ctid))
        yield
