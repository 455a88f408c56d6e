"""All containers of a node, as ``root@pve1/all`` names them: those with Docker, or with a tag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import LimitExceeded
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime import guest_root

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport

ALL = "/all"
#: Where Docker's packages put dockerd, and what it leaves.
_DOCKERS = (
    *("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", "/snap/docker"),
    "/var/lib/docker",
)
#: As timeout(1) ends.
_NO_ANSWER = 124


class Listing(msgspec.Struct, frozen=True):
    """The containers of a node, by id.

    ``asked``: those that are judged. ``left_out``: those that have no Docker, or not the tag.
    ``stopped``: those of which nobody can tell whether they have Docker.
    """

    node: str
    asked: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    stopped: tuple[int, ...] = ()

    def __str__(self) -> str:
        parts = (("asked", self.asked), ("left out", self.left_out), ("stopped", self.stopped))
        groups = (f"{what}: {', '.join(map(str, ids))}" for what, ids in parts if ids)
        return f"{self.node}: {'; '.join(groups) or 'no container'}"

    def changes(self, later: Listing) -> Iterator[str]:
        """Yield what became of the containers since, as sentences."""
        for ctid in sorted({*self.asked} ^ {*later.asked}):
            came = ctid in later.asked
            what = "came" if came else "went"
            what += " while the run went on" + ", and was not judged" * came
            yield f"{self.node.removesuffix(ALL)}/{ctid} {what}"


def node_of(text: str, file: Path | None) -> Target | None:
    """Return any target on the node of ``NODE/all``; None for a text of another form.

    Raises as :func:`docker_lxc_gate.machines.target_file.find` does.
    """
    if not text.endswith(ALL):
        return None
    name = text.removesuffix(ALL)
    return target_file.find(name if file else f"{name}/100", file)


def listed(runtime: Runtime, name: str, tag: str = "") -> Listing:
    """Return the containers of a node. No ``pct`` is started: LXC is asked for their state.

    The ``name`` is the node's, as the command line has it. Without a ``tag`` of Proxmox's, those
    with Docker are asked, and only a container that is known to have none is left out. Raises
    FactError if they cannot be listed, TransportError if the node cannot be reached.
    """
    ctids, node = _ctids(runtime), runtime.node
    if tag:
        files = {ctid: node.read(runtime.config_path(ctid)) or b"" for ctid in ctids}
        tagged = [ctid for ctid, content in files.items() if tag in _tags(content)]
        return Listing(name, tuple(tagged), tuple(sorted({*ctids} - {*tagged})))
    asked, without, stopped = list[int](), list[int](), list[int]()
    for ctid in ctids:
        first = runtime.first_process(ctid)
        answer = _answer(node, first.argv)
        pid = first.parse(answer)
        has_docker = guest_root.command(guest_root.LOOK, pid, *_DOCKERS)
        if not pid and (answer.ok or b"doesn't exist" in answer.stdout + answer.stderr):
            stopped.append(ctid)  # LXC found no process, or knows no container; else it failed
        elif pid and _answer(node, has_docker).exit_code == guest_root.ABSENT:
            without.append(ctid)
        else:
            asked.append(ctid)
    return Listing(name, tuple(asked), tuple(without), tuple(stopped))


def targets(node: Target, listing: Listing) -> Iterator[Target]:
    """Yield a target for each container that is asked about; none may be created there."""
    for ctid in listing.asked:
        yield structs.replace(node, ctid=ctid, reserved=())


def _answer(node: Transport, argv: tuple[str, ...]) -> CommandResult:
    try:
        return node.look(argv)
    except LimitExceeded as error:  # of one container: the others are still listed
        return CommandResult(argv, _NO_ANSWER, b"", str(error).encode(), node.machine, 0.0, 0.0)


def _ctids(runtime: Runtime) -> list[int]:
    pattern = runtime.config_path(0).replace("/0", "/*")
    answer = runtime.node.look(["sh", "-c", f"printf '%s\\n' {pattern}"])
    return sorted(_ids(answer.require().text))


def _ids(text: str) -> set[int]:
    """Return the ids in paths of configurations; other containers of plain LXC have names."""
    matches = patterns.findall(r"(?m)/([1-9][0-9]{2,8})(?:\.conf|/config)$", text)
    return {int(ctid) for ctid in matches}


def _tags(content: bytes) -> list[str]:
    options = container_config.parse("container", content.decode(errors="replace")).current()
    return patterns.split(r"[;, ]+", options.get("tags", ""))
