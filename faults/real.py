"""Faults on a target that is not the lab: in a container that is made for it and thrown away.

Only those that can be rolled back are run; each is, and a witness compares.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from facts import machine_state
from faults import run
from faults.fault import PRELUDE
from faults.run import COMPLIANT, Problem, Result
from lab.address import lab_address
from remediation import desired, docker_in_lxc
from remediation.engine.apply import apply
from remediation.provision import thrown_away
from targets import connect
from targets.errors import RemediationError, UsageError
from targets.runtime.pct import Pct
from targets.runtime.waiting import wait_until_booted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from faults.fault import Fault
    from faults.run import Found
    from targets.runtime.base import Runtime
    from targets.target import Target

#: The gate itself pulls and runs images in it.
_THE_GATES = re.compile(r"container: file /var/lib/(docker|containerd)(/|$)")


def require_safe(faults: Sequence[Fault], *, named: bool, may_change: bool) -> tuple[Fault, ...]:
    """Return the faults that may run on a real target.

    Args:
        faults: those that are asked for.
        named: whether somebody named them; else the unsafe ones are left out.
        may_change: whether the target may be changed at all.

    Raises:
        UsageError: nothing may be changed, or an unsafe one was named.
    """
    if not may_change:
        raise UsageError(
            "faults break what they run on: on a target that is not the lab, say --allow-mutation; "
            "a container is made for them, and thrown away"
        )
    unsafe = [fault.id for fault in faults if not fault.safe]
    if named and unsafe:
        raise UsageError(
            f"{', '.join(unsafe)}: not on a real target: what they break is not in the container "
            "alone, or cannot be rolled back (python -m faults --list)"
        )
    return tuple(fault for fault in faults if fault.safe)


def on_target(
    faults: Sequence[Fault],
    asked: Target,
    tell: Callable[[str], None],
    *,
    everything: bool = False,
) -> Iterator[Result]:
    """Run faults in a container of their own on a target; after one that stays, no other is run.

    Args:
        faults: safe ones.
        asked: the target; of its reserved containers the first is made, and destroyed.
        tell: hears one line before anything that takes time.
        everything: ask all scenarios, and not only what the rule says.

    Yields:
        What came of each.

    Raises:
        UsageError: no container is reserved, or it is there already; nothing was changed.
        RemediationError: the container could not be made, or not be taken away.
    """
    with (
        connect.opened(asked, lab=lab_address, tell=tell) as runtime,
        _container(runtime, asked, tell) as own,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder) / "targets.toml"
        file.write_text(table(own))
        place = ("--target-file", str(file), "--target", "faults", "--allow-mutation")
        tell("the gate, without a fault")
        each = {fault.id: fault.asked(everything=everything) for fault in faults}
        control = run.ask(tuple(dict.fromkeys(chain(*each.values()))), *place)
        for fault in faults:
            tell(f"{fault.id}: {fault.title}")
            if was := [t for t in fault.named if control[t].verdict != COMPLIANT]:
                why = f"{was[0]!r} is {control[was[0]].verdict} without it, too"
                yield Result(fault.id, fault.title, run.expected(fault), unasked=why)
                continue
            ask = partial(run.ask, each[fault.id], *place)
            result, stays = _one(fault, runtime, own.ctid, ask, control)
            yield result
            if stays:
                return


def _one(
    fault: Fault,
    runtime: Runtime,
    ctid: int,
    ask: Callable[[], Mapping[str, Found]],
    control: Mapping[str, Found],
) -> tuple[Result, bool]:
    """Return what came of a fault, and whether something of it stays."""
    clock, healthy = time.monotonic(), _look(runtime, ctid)
    found: Mapping[str, Found] = {}
    unasked = ""
    try:
        run.inject(fault, runtime.node, ctid)
        found = ask()
    except RemediationError as error:  # the others are run all the same
        unasked = str(error)
    finally:  # also what was broken by half
        undo = ["bash", "-c", PRELUDE + fault.undo, "undo", str(ctid)]
        undone = runtime.node.run(undo, timeout=600)
    undone.require(f"fault {fault.id} is not rolled back")
    wait_until_booted(runtime.inside(ctid))
    left = machine_state.differences(healthy, _look(runtime, ctid))
    problems = () if unasked else run.compare(fault, found, ctid, before=control)
    problems += tuple(Problem("", f"it was not rolled back: {each}") for each in left[:10])
    seconds = time.monotonic() - clock
    wanted = run.expected(fault)
    return Result(fault.id, fault.title, wanted, found, problems, seconds, unasked), bool(left)


def _look(runtime: Runtime, ctid: int) -> dict[str, str]:
    """Return what must be the same afterwards; that of the configuration is its content."""
    state = machine_state.undone(machine_state.both(runtime, ctid))
    file = f"node: file {runtime.config_path(ctid)}"
    return {key: fact for key, fact in state.items() if key != file and not _THE_GATES.match(key)}


@contextmanager
def _container(runtime: Runtime, asked: Target, tell: Callable[[str], None]) -> Iterator[Target]:
    """Make a container with the plan applied; yield it as a target, and throw it away."""
    if not isinstance(runtime, Pct):
        raise UsageError(f"{runtime.node.machine} has plain LXC: the faults are made with pct")
    with thrown_away(runtime, asked, tell, features=desired.FEATURES) as ctid:
        apply(docker_in_lxc.plan(runtime, ctid, repository=asked.repository, tell=tell))
        yield msgspec.structs.replace(asked, ctid=ctid, reserved=())


def table(own: Target) -> str:
    """Return a target file with this one target, ``faults``: JSON's values are TOML's, too."""
    values = {key: value for key, value in msgspec.to_builtins(own).items() if value is not None}
    return "[faults]\n" + "".join(f"{key} = {json.dumps(each)}\n" for key, each in values.items())
