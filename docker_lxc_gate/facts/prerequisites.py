"""What a change depends on: a log with room, the containers it reaches.

Sources: df(1), auditd.conf(5); pct.conf(5), lxc.container.conf(5), lxc-ls(1).
"""

from __future__ import annotations

from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.transport import Transport

_MIB = 1 << 20
#: Space for the records of a container's start, at the least (bytes).
LEAST_ROOM = 64 * _MIB
_LOG_ROOM = program("docker_lxc_gate.facts", "log_room.sh")
#: The log of each source, and its directory.
_LOGS = {
    "auditd": ("auditd's log", "/var/log/audit"),
    "kernel": ("the kernel's records of a window", "/run"),
}


@dataclass(frozen=True)
class Room:
    """The file system of a log: its ``free`` bytes, and the bytes ``needed``.

    ``log`` is the log's name for a message.
    """

    log: str
    place: str
    free: int
    needed: int


def log_room(node: Transport, source: str) -> Room:
    """Return the free space for records; at ``space_left`` auditd may stop writing.

    The source is ``auditd`` or ``kernel``, as
    :attr:`docker_lxc_gate.facts.audit.audit_window.Window.log` tells it. Raises FactError if the
    answer cannot be read.
    """
    log, where = _LOGS[source]
    answer = node.look(["sh", "-c", _LOG_ROOM, "room", where]).require().text
    table = patterns.match(r"\s*([0-9]+)\s+([0-9]+)\s+(/.*)\n(?:([0-9]+)(%?)\n)?", answer)
    if table is None:
        raise FactError(f"on {node.machine}: the free space for {log} cannot be read: {answer!r}")
    free, size, place, left, percent = table.groups()
    needed = LEAST_ROOM
    if left and source == "auditd":
        own = int(size) * int(left) // 100 if percent else int(left) * _MIB
        needed = max(needed, own)
    return Room(log, place, int(free), needed)


#: Limit for the configurations of all containers of a node, with snapshots (bytes).
_LONGEST = 16 << 20
#: The names of the containers that run, frozen ones included: LXC asks the kernel.
_RUNNING = ("lxc-ls", "-P", "/var/lib/lxc", "--active", "-1")


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


def affected(runtime: Runtime, profile: str, ctid: int) -> tuple[Affected, ...]:
    """Return the containers of a node that have the profile, or are made for Docker.

    The kernel tells which running containers have it, because a file may name it in an include, or
    may have changed since the start. Docker itself cannot be seen from outside, so a container with
    nesting and keyrings or ``/dev/fuse`` counts as made for Docker. Plain LXC gives keyrings to
    all; devices and features that its includes add are not seen.

    The container ``ctid`` exists. Raises FactError if the listing lacks it: it may lack others.
    """
    node, plain = runtime.node, runtime.kind == "lxc"
    texts = _configurations(runtime)
    if str(ctid) not in texts:
        raise FactError(
            f"the list of containers on {node.machine} lacks container {ctid}, and maybe others"
        )
    under = denial_log.running_under(node, profile)
    others = set() if plain else under - texts.keys()
    running = {*node.look(_RUNNING).require().text.split(), *under}
    parse = container_config.parse_lxc if plain else container_config.parse
    containers = []
    for name in sorted(texts.keys() | others, key=lambda name: (len(name), name)):
        config = parse("", texts.get(name, ""))
        given = {*container_config.given(config.current().get("features", ""))}
        if plain:
            given = {*container_config.granted(config, "")} - {"keyctl"}
        has_profile = config.current().get("lxc.apparmor.profile") == profile or name in under
        if has_profile or ("nesting" in given and given & {"keyctl", "fuse"}):
            state = "running" if name in running else "stopped"
            containers.append(Affected(denial_log.number(name) or name, state, has_profile))
    return tuple(containers)


def _configurations(runtime: Runtime) -> dict[str, str]:
    """Return the configurations of a node's containers, by name."""
    before, after = runtime.config_path(0).split("0")
    argv = ["sh", "-c", f"grep -aH '' {before}*{after}"]
    lines = runtime.node.look(argv, limit=_LONGEST).require().text
    named = rf"(?m)^{patterns.escape(before)}([^/:\n]+){patterns.escape(after)}:(.*)$"
    texts: dict[str, str] = {}
    for name, line in patterns.findall(named, lines):
        texts[name] = f"{texts.get(name, '')}{line}\n"
    return texts
