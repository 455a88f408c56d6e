"""What is asked about: a node, and a container on it.

``lab/950`` is the nested CI VM, ``local/950`` the machine we are on, ``root@pve1:22/950`` a
Proxmox host over SSH.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from remediation.errors import FactError, UsageError
from remediation.runtime import Lxc, Pct, Runtime
from remediation.ssh import Ssh, SshAddress
from remediation.transport import Local, Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from remediation.transport import CommandResult, Transport

DEFAULT = "lab/950"
_FORM = re.compile(
    r"(?:(?P<place>lab|local)|(?:(?P<user>[^@/\s]+)@)?(?P<host>[^@:/\s]+)(?::(?P<port>\d+))?)"
    r"/(?P<ctid>\d+)"
)
#: Proxmox's own range (pct.adm: ids below 100 are reserved).
_CTIDS = range(100, 1_000_000_000)


@dataclass(frozen=True)
class Target:
    """A node (``lab``, ``local`` or an address) and the ctid of the container on it."""

    place: str
    ctid: int
    address: SshAddress | None = None

    @property
    def host(self) -> str:
        """The node's name, by which results of different nodes are told apart."""
        return self.address.host if self.address else self.place

    def __str__(self) -> str:
        """The form in which it is given on a command line."""
        return f"{self.address or self.place}/{self.ctid}"


def parse(text: str) -> Target:
    """Read a target as a user writes it; raises UsageError saying what was expected."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"target {text!r}: expected lab/CTID, local/CTID or [USER@]HOST[:PORT]/CTID, "
            "for example root@pve1/950"
        )
    ctid = int(match["ctid"])
    if ctid not in _CTIDS:
        raise UsageError(f"target {text!r}: {ctid} is no container id; they begin at 100")
    if match["place"]:
        return Target(match["place"], ctid)
    port = int(match["port"] or 22)
    if not 0 < port < 1 << 16:
        raise UsageError(f"target {text!r}: {port} is no port")
    return Target("", ctid, SshAddress(match["host"], port, match["user"] or "root"))


@contextmanager
def opened(
    target: Target,
    *,
    listener: Callable[[CommandResult], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Runtime]:
    """Connect to a target's node and close the connection afterwards.

    Args:
        target: what is asked about; the lab is started if it is not running.
        listener: hears of every command that ran.
        tell: hears one line before anything that takes time.

    Yields:
        The runtime that manages the containers of the node.
    """
    if target.place == "local":
        yield _runtime(Recorded(Local(), listener))
        return
    ssh = Ssh(target.address or _lab(tell), name="the lab's node" if target.place else "")
    try:
        yield _runtime(Recorded(ssh, listener))
    finally:
        ssh.close()


def _lab(tell: Callable[[str], None]) -> SshAddress:
    # Imported here: a real host needs none of the lab's libraries.
    from lab.machine import Lab  # noqa: PLC0415
    from lab.progress import told_to  # noqa: PLC0415

    lab = Lab.open(steps=told_to(tell))
    lab.up(keep=True)  # a running one is asked as it stands, whatever has changed since
    return lab.address


def _runtime(node: Transport) -> Runtime:
    """Return ``Pct`` where there is a pct, else ``Lxc``."""
    found = node.run(["sh", "-c", "command -v pct || command -v lxc-start"])
    if not found.ok:
        raise FactError(
            f"{node.machine} has neither pct nor lxc-start: it manages no LXC containers"
        )
    return Pct(node) if found.text.strip().endswith("/pct") else Lxc(node)
