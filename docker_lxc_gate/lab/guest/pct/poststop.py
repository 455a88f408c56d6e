"""What Proxmox's ``lxc-pve-poststop-hook`` does: LXC runs it whenever a container has stopped.

Whoever stopped it: ``pct``, ``lxc-stop``, the container itself, a start that failed. Proxmox asks
whether changes are pending in a way that is always true, so that the file is written anew at each
stop, normalised.
"""

from __future__ import annotations

import sys

from .errors import PctError
from .files import config_path, load, store
from .host import Host
from .lifecycle import generate


def main(argv: list[str], node: Host | None = None) -> int:
    """Apply what is pending, write the container's file and LXC's configuration anew.

    LXC runs this as its hooks: ``argv[1]`` is the container. No lock is taken: ``pct`` holds it
    while it waits for this. The container's file is written even if a value cannot be parsed.
    """
    node, ctid = node or Host(), argv[1]
    try:
        if config_path(node, ctid).exists():
            config = load(node, ctid, quiet=True).applied()
            store(node, ctid, config)
            generate(node, ctid, config.current)
    except (PctError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 255
    return 0
