"""The node's containers that a change of the profile affects, or that are made for Docker.

Sources: pct.conf(5), lxc.container.conf(5), lxc-ls(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.transport import at_most

if TYPE_CHECKING:
    from docker_lxc_gate.machines.transport import Transport

_PLAIN = "/var/lib/lxc"
#: Limit for the configurations of all containers of a node, with snapshots (bytes).
_LONGEST = 16 << 20


@dataclass(frozen=True)
class Affected:
    """A container that is made for Docker: its state, and whether it has the plan's profile.

    Replacing the profile in the kernel affects every process that runs under it.
    """

    ctid: int | str
    state: str
    under_profile: bool

    def __str__(self) -> str:
        """Return its ctid, state and reason, for a message."""
        why = "under the profile" if self.under_profile else "made for Docker"
        return f"{self.ctid} ({self.state}, {why})"


@foreign.parser(..., "p", 950)
def affected(node: Transport, profile: str, ctid: int) -> tuple[Affected, ...]:
    """Return the containers of a Proxmox node that have the profile, or are made for Docker.

    The kernel tells which running containers have it, because a file may name it in an include, or
    may have changed since the start. Docker itself cannot be seen from outside, so a container with
    nesting and keyrings or ``/dev/fuse`` counts as made for Docker.

    Args:
        node: the node.
        profile: its name.
        ctid: a container that exists, as a check: if the listing lacks it, it may lack others.

    Raises:
        FactError: the listing lacks that container.
    """
    read = ["-exec", "grep", "-aH", "", "{}", "+"]
    with at_most(_LONGEST):
        lines = node.look(["find", "-L", "/etc/pve/lxc", "-name", "*.conf", *read]).require().text
    texts: dict[int, str] = {}
    for name, line in patterns.findall(r"(?m)^/etc/pve/lxc/([0-9]+)\.conf:(.*)$", lines):
        texts[int(name)] = f"{texts.get(int(name), '')}{line}\n"
    rows = [line.split() for line in node.look(["pct", "list"]).require().text.splitlines()]
    states = {row[0]: row[1] for row in rows if len(row) > 1}
    if ctid not in texts or str(ctid) not in states:
        raise FactError(
            f"the list of containers on {node.machine} lacks container {ctid}, and maybe others"
        )
    found = []
    running = denial_log.running_under(node, profile)
    for each, text in sorted(texts.items()):
        options = container_config.parse("", text).current()
        given = container_config.given(options.get("features", ""))
        under = options.get("lxc.apparmor.profile") == profile or str(each) in running
        if under or ("nesting" in given and given & {"keyctl", "fuse"}):
            found.append(Affected(each, states.get(str(each), "in no known state"), under))
    others = sorted(running - {str(each) for each in texts})
    return (*found, *(Affected(each, "running", under_profile=True) for each in others))


@foreign.parser(..., "p", 950)
def affected_plain(node: Transport, profile: str, ctid: int) -> tuple[Affected, ...]:
    """Return the same for a node with plain LXC, whose containers may have names.

    Includes are not followed, so devices and features that they add are not seen.
    """
    look = ("find", "-L", _PLAIN, "-mindepth", "2", "-maxdepth", "2", "-name", "config")
    with at_most(_LONGEST):
        lines = node.look([*look, "-exec", "grep", "-aH", "", "{}", "+"]).require().text
    texts: dict[str, str] = {}
    for name, line in patterns.findall(rf"(?m)^{_PLAIN}/([^/]+)/config:(.*)$", lines):
        texts[name] = f"{texts.get(name, '')}{line}\n"
    columns = ("--fancy", "--fancy-format", "NAME,STATE")
    listing = node.look(["lxc-ls", "-P", _PLAIN, *columns]).require().text
    states = {row[0]: row[1].lower() for row in map(str.split, listing.splitlines()[1:]) if row[1:]}
    if not {str(ctid)} <= texts.keys() & states.keys():
        raise FactError(
            f"the list of containers on {node.machine} lacks container {ctid}, and maybe others"
        )
    found = []
    running = denial_log.running_under(node, profile)
    for name, text in sorted(texts.items()):
        written = container_config.parse_lxc("", text)
        assigned = written.current().get("lxc.apparmor.profile")
        under = assigned == profile or name in running
        if under or {"nesting", "fuse"} <= container_config.granted(written, "").keys():
            each = int(name) if patterns.fullmatch("[0-9]+", name) else name
            found.append(Affected(each, states.get(name, "in no known state"), under))
    return tuple(found)
