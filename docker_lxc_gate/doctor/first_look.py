"""The first question about a container: is it there, what is its configuration, can it be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.doctor import node_reads
from docker_lxc_gate.doctor.answers import Answers, ask
from docker_lxc_gate.doctor.examinations import running
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.read import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docker_lxc_gate.formats.container_config import ContainerConfig
    from docker_lxc_gate.machines.read import Read
    from docker_lxc_gate.machines.runtime.base import Runtime

_UP = "RUNNING"


@dataclass(frozen=True)
class FirstLook:
    """What the node says of a container.

    Attributes:
        config: its configuration as it is written.
        content: the bytes of that file.
        node: the node's answers.
        silent: why nothing in the container can be asked; empty if it can.
    """

    config: ContainerConfig
    content: bytes
    node: Answers
    silent: str


def first_look(runtime: Runtime, ctid: int, more: Iterable[Read[Any]] = ()) -> FirstLook:
    """Ask the node about a container, in one round trip.

    Args:
        runtime: manages the container.
        ctid: the container.
        more: what else is asked.

    Raises:
        FactError: there is no such container on the node.
        TransportError: the node cannot be reached.
    """
    path, state = runtime.config_path(ctid), node_reads.lxc_state(ctid)
    node = ask(runtime.node, (content_of(path), state, *more))
    content = node.of(content_of(path))
    if content is None:
        runtime.configuration(ctid)  # says where the container is instead
        raise FactError(f"there is no container {ctid} on {runtime.node.machine}: no {path}")
    parse = container_config.parse if runtime.kind == "pct" else container_config.parse_lxc
    config = parse(path, content.decode(errors="replace"))
    said = node.maybe(state, _UP)
    how = "is frozen" if said in running.FROZEN_STATES else "does not run"
    return FirstLook(config, content, node, "" if said == _UP else f"container {ctid} {how}")


def ask_inside(runtime: Runtime, ctid: int, look: FirstLook, reads: Iterable[Read[Any]]) -> Answers:
    """Return what a container says of itself; without an answer if it cannot be asked."""
    if look.silent:
        return Answers({}, look.silent)
    return ask(runtime.inside(ctid), reads)
