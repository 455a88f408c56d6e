"""Faults on a real target, in a container that is created for them and destroyed afterwards.

Only faults with a ``rollback`` are run. The runner rolls each one back and compares the machines.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec

from docker_lxc_gate.errors import RemediationError, UsageError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect, target_file
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.target import Target
from proof.faults import run
from proof.faults.fault import COMPLIANT, Fault, shell
from proof.faults.run import Mismatch, Result, ScenarioVerdict
from remediation import desired, docker_in_lxc
from remediation.engine.apply import apply
from remediation.provision import thrown_away

#: The gate changes these files itself: it pulls and runs images.
_THE_GATES = re.compile(r"container: file /var/lib/(docker|containerd)(/|$)")


def require_safe(faults: Sequence[Fault], *, named: bool, may_change: bool) -> tuple[Fault, ...]:
    """Return the faults that may run on a real target.

    Unsafe faults are left out, unless the user ``named`` them. With ``--allow-mutation``, faults
    ``may_change`` the target.

    Raises:
        UsageError: the target may not be changed, or the user named an unsafe fault.
    """
    if not may_change:
        raise UsageError(
            "faults break the target that they run on: on a target other than the lab, give "
            "--allow-mutation. The faults then run in a container of their own, which is destroyed"
        )
    unsafe = [fault.id for fault in faults if not fault.safe]
    if named and unsafe:
        raise UsageError(
            f"{', '.join(unsafe)}: not on a real target, because the damage is not confined to "
            "the container or cannot be rolled back (see python -m proof.faults --list)"
        )
    return tuple(fault for fault in faults if fault.safe)


def on_target(
    faults: Sequence[Fault],
    asked: Target,
    tell: Callable[[str], None],
    *,
    everything: bool = False,
) -> Iterator[Result]:
    """Run safe faults in a container of their own on a target, and yield their results.

    The first of the target's reserved containers is created, and destroyed. After a fault that
    could not be rolled back, no other fault is run. With ``everything`` all scenarios run, not only
    those that :meth:`Fault.asked` selects. ``tell`` gets one line before each long operation.

    Raises:
        UsageError: no container is reserved, or it exists already; nothing was changed.
        RemediationError: the container could not be created or destroyed.
    """
    with (
        connect.opened(asked, lab=lab_address, tell=tell) as runtime,
        _container(runtime, asked, tell) as own,
        tempfile.TemporaryDirectory() as folder,
        ExitStack() as within,
    ):
        file = Path(folder) / "targets.toml"
        file.write_text(target_file.written("faults", own))
        place = ("--target-file", str(file), "--target", "faults", "--allow-mutation")
        tell("running the gate without a fault")
        each = {fault.id: fault.asked(everything=everything) for fault in faults}
        gate = within.enter_context(run.GateProcess(*place))
        control = gate.ask(tuple(dict.fromkeys(chain(*each.values()))))
        for fault in faults:
            tell(f"{fault.id}: {fault.title}")
            if was := [name for name in fault.expect if control[name].verdict != COMPLIANT]:
                why = f"is {control[was[0]].verdict} without it, too"
                yield Result(fault, unasked=str(Mismatch(was[0], why)))
                continue
            ask = partial(gate.ask, each[fault.id])
            result, stays = _one(fault, runtime, own.ctid, ask, control)
            yield result
            if stays:
                return


def _one(
    fault: Fault,
    runtime: Runtime,
    ctid: int,
    ask: Callable[[], Mapping[str, ScenarioVerdict]],
    control: Mapping[str, ScenarioVerdict],
) -> tuple[Result, bool]:
    """Return the result of a fault, and whether its rollback left a difference."""
    clock, healthy = time.monotonic(), _look(runtime, ctid)
    found: Mapping[str, ScenarioVerdict] = {}
    unasked = ""
    try:
        run.inject(fault, runtime.node, ctid)
        found = ask()
    except RemediationError as error:  # go on with the next fault
        unasked = str(error)
    finally:  # even if the injection was interrupted
        result = shell(runtime.node, fault.rollback, ctid)
    result.require(f"fault {fault.id} is not rolled back")
    wait_until_booted(runtime.inside(ctid))
    left = machine_state.differences(healthy, _look(runtime, ctid))
    problems = () if unasked else run.compare(fault, found, ctid, before=control)
    problems += tuple(Mismatch("", f"it was not rolled back: {each}") for each in left[:10])
    seconds = time.monotonic() - clock
    return Result(fault, found, problems, seconds, unasked), bool(left)


def _look(runtime: Runtime, ctid: int) -> dict[str, str]:
    """Return the state that must be equal afterwards; of the configuration, only its content."""
    state = machine_state.comparable_after_rollback(machine_state.record_target(runtime, ctid))
    file = f"node: file {runtime.config_path(ctid)}"
    return {key: fact for key, fact in state.items() if key != file and not _THE_GATES.match(key)}


@contextmanager
def _container(runtime: Runtime, asked: Target, tell: Callable[[str], None]) -> Iterator[Target]:
    """Create a container with the plan applied; yield it as a target, and destroy it."""
    if runtime.kind != "pct":
        raise UsageError(
            f"{runtime.node.machine} has plain LXC, but the faults need pct: "
            "choose a Proxmox host or the lab"
        )
    with thrown_away(runtime, asked, tell, features=desired.FEATURES) as ctid:
        apply(docker_in_lxc.plan(runtime, ctid, repository=asked.repository, tell=tell))
        yield msgspec.structs.replace(asked, ctid=ctid, reserved=())
