"""The node's other containers that a change of the profile reaches, or that are made for Docker.

Sources: pct.conf(5), lxc.container.conf(5), lxc-ls(1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facts import denials
from targets.errors import FactError
from targets.runtime import container_config
from targets.transport import at_most

if TYPE_CHECKING:
    from targets.transport import Transport

_PLAIN = "/var/lib/lxc"
#: The configurations of all containers of a node, snapshots included (bytes).
_LONGEST = 16 << 20


@dataclass(frozen=True)
class Affected:
    """A container that is made for Docker: its state, and whether it has the plan's profile.

    What runs under the profile is reached when that is replaced in the kernel.
    """

    ctid: int | str
    state: str
    under_profile: bool

    def __str__(self) -> str:
        """For a reader."""
        why = "under the profile" if self.under_profile else "made for Docker"
        return f"{self.ctid} ({self.state}, {why})"


def affected(node: Transport, profile: str, ctid: int) -> tuple[Affected, ...]:
    """Return the containers of a Proxmox node that have the profile, or are made for Docker.

    Whether one that runs is under it the kernel knows: a file may name it in an include, or may
    have been changed since the start. Docker itself cannot be seen from outside; that nesting is
    given along with keyrings or ``/dev/fuse`` can.

    Args:
        node: whose.
        profile: its name.
        ctid: one that is there: where it is not seen, the others are not seen either.

    Raises:
        FactError: it is not among those that the node names.
    """
    read = ["-exec", "grep", "-aH", "", "{}", "+"]
    with at_most(_LONGEST):
        lines = node.look(["find", "-L", "/etc/pve/lxc", "-name", "*.conf", *read]).require().text
    texts: dict[int, str] = {}
    for name, line in re.findall(r"^/etc/pve/lxc/([0-9]+)\.conf:(.*)$", lines, re.MULTILINE):
        texts[int(name)] = f"{texts.get(int(name), '')}{line}\n"
    rows = [line.split() for line in node.look(["pct", "list"]).require().text.splitlines()]
    states = {row[0]: row[1] for row in rows if len(row) > 1}
    if ctid not in texts or str(ctid) not in states:
        raise FactError(f"{node.machine} does not name container {ctid}: who else is there?")
    found = []
    running = denials.running_under(node, profile)
    for each, text in sorted(texts.items()):
        options = container_config.parse("", text).current()
        given = container_config.given(options.get("features", ""))
        under = options.get("lxc.apparmor.profile") == profile or str(each) in running
        if under or ("nesting" in given and given & {"keyctl", "fuse"}):
            found.append(Affected(each, states.get(str(each), "in no known state"), under))
    others = sorted(running - {str(each) for each in texts})
    return (*found, *(Affected(each, "running", under_profile=True) for each in others))


def affected_plain(node: Transport, profile: str, ctid: int) -> tuple[Affected, ...]:
    """Return the same of a node with plain LXC, whose containers may have names.

    An include is not followed: what a container is given there is not seen, but for the profile
    of one that runs.
    """
    look = ("find", "-L", _PLAIN, "-mindepth", "2", "-maxdepth", "2", "-name", "config")
    with at_most(_LONGEST):
        lines = node.look([*look, "-exec", "grep", "-aH", "", "{}", "+"]).require().text
    texts: dict[str, str] = {}
    for name, line in re.findall(rf"^{_PLAIN}/([^/]+)/config:(.*)$", lines, re.MULTILINE):
        texts[name] = f"{texts.get(name, '')}{line}\n"
    columns = ("--fancy", "--fancy-format", "NAME,STATE")
    listing = node.look(["lxc-ls", "-P", _PLAIN, *columns]).require().text
    states = {row[0]: row[1].lower() for row in map(str.split, listing.splitlines()[1:]) if row[1:]}
    if not {str(ctid)} <= texts.keys() & states.keys():
        raise FactError(f"{node.machine} does not name container {ctid}: who else is there?")
    found = []
    running = denials.running_under(node, profile)
    for name, text in sorted(texts.items()):
        written = container_config.parse_lxc("", text)
        assigned = written.current().get("lxc.apparmor.profile")
        under = assigned == profile or name in running
        if under or {"nesting", "fuse"} <= container_config.granted(written, "").keys():
            each = int(name) if re.fullmatch("[0-9]+", name) else name
            found.append(Affected(each, states.get(name, "in no known state"), under))
    return tuple(found)
