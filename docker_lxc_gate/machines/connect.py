"""From a target to the runtime of its node: connect, become root, find the runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from docker_lxc_gate.errors import TransportError, UsageError
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.root import as_root
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Local, Recorded, Transport

#: The programs that identify a runtime. Proxmox has LXC's own tools, too, so pct comes first.
_PROGRAMS = {"auto": ("pct", "lxc-start"), "pct": ("pct",), "lxc": ("lxc-start",)}


@contextmanager
def opened(
    target: Target,
    *,
    lab: Callable[[Callable[[str], None]], SshAddress] | None = None,
    listener: Callable[[CommandResult], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Runtime]:
    """Connect to a target's node, yield its runtime, and close the connection afterwards.

    ``lab`` brings up the lab and returns the address of its node; it is given ``tell``, which is
    called with one line before each long operation. The ``listener`` is called with the result of
    every command.

    Raises TransportError if the node cannot be reached, does not give us root, or has no runtime,
    and UsageError if the target is the lab, and ``lab`` is not given.
    """
    with connected(target, lab=lab, tell=tell) as raw:
        yield runtime_on(raw, target, listener=listener)


@contextmanager
def connected(
    target: Target,
    *,
    lab: Callable[[Callable[[str], None]], SshAddress] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Transport]:
    """Connect to a target's node, as :func:`opened`; yield what reaches it as its user."""
    if target.place == "local":
        with closing(Local()) as here:
            yield here
        return
    address = target.address
    if address is None:
        if lab is None:
            raise UsageError(
                f"target {target}: the lab cannot be reached from here; expected a node that SSH "
                "reaches, or local/CTID"
            )
        address = lab(tell)
    # Imported here: help, and a target that is this machine, need no paramiko.
    from docker_lxc_gate.machines.ssh.connection import Ssh  # noqa: PLC0415

    with closing(Ssh(address, name="the lab's node" if target.place else "")) as raw:
        yield raw


def runtime_on(
    raw: Transport,
    target: Target,
    *,
    listener: Callable[[CommandResult], None] = lambda _: None,
) -> Runtime:
    """Return the runtime of a target whose node ``raw`` reaches. Raises as :func:`opened`."""
    programs = _PROGRAMS[target.runtime]
    finding = " || ".join(f"command -v {name}" for name in programs)
    node = Recorded(as_root(raw, sudo=target.sudo), listener)
    answer = node.look(["sh", "-c", finding])
    if not answer.ok:
        tried = f"no {programs[0]}" if programs[1:] == () else f"neither {' nor '.join(programs)}"
        raise TransportError(
            f"{tried} was found on {node.machine}: is it the machine that manages the containers? "
            f"(runtime is {target.runtime!r})"
        )
    return Pct(node) if answer.text.strip().endswith("/pct") else Lxc(node)
