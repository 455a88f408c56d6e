"""Faults on a user's target, in a container that is created for them and destroyed afterwards.

Only faults with a ``rollback`` are run. Each one is rolled back, and the machines are compared.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect, target_file
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.target import Target
from proof.faults import run
from proof.faults.fault import COMPLIANT, Fault, shell
from proof.faults.scenarios import scenarios
from remediation import desired, docker_in_lxc
from remediation.engine.apply import apply
from remediation.provision import thrown_away

if TYPE_CHECKING:
    from docker_lxc_gate.verdict.record import Outcome

#: The gate changes these files itself: it pulls and runs images.
_THE_GATES = re.compile(r"container: file /var/lib/(docker|containerd)(/|$)")


@dataclass
class Container:
    """The faults' own container on a target, with the gate's options that name it.

    ``control`` has the outcomes without a fault; ``spoiled`` is the id of a fault whose rollback
    left a difference, after which no other is run.
    """

    runtime: Runtime
    ctid: int
    place: tuple[str, ...]
    control: Mapping[str, Outcome]
    spoiled: str = ""

    def broken(self, fault: Fault, *, everything: bool = False) -> list[str]:
        """Inject a fault, ask, roll it back, and return what is not as its row says.

        Raises FactError if the fault cannot be judged, and nothing was changed.
        """
        if self.spoiled:
            raise FactError(f"not run: the rollback of fault {self.spoiled} left a difference")
        for name in fault.expect:
            was = self.control[name].verdict if name in self.control else "not asked"
            if was != COMPLIANT:
                raise FactError(f"not run: {scenarios()[name].title!r} is {was} without it, too")
        healthy, node = self._look(), self.runtime.node
        self.spoiled = fault.id  # until the opposite is known
        try:
            run.inject(fault, node, self.ctid)
            asked = fault.asked(everything=everything)
            outcomes = run.ask(asked, *run.options(fault, *self.place))
            problems = run.unmarked(fault, node, self.ctid)
            problems += run.compare(fault, outcomes, self.ctid, before=self.control)
        finally:  # even if the injection was interrupted
            result = shell(node, fault.rollback, self.ctid)
            result.require(f"fault {fault.id} is not rolled back")
            wait_until_booted(self.runtime.inside(self.ctid))
            left = machine_state.differences(healthy, self._look())
            self.spoiled = fault.id if left else ""
        return problems + [f"it was not rolled back: {difference}" for difference in left[:10]]

    def _look(self) -> dict[str, str]:
        """Return the state that must be equal afterwards; of the configuration, its content."""
        state = machine_state.record_target(self.runtime, self.ctid)
        state = machine_state.comparable_after_rollback(state)
        file = f"node: file {self.runtime.config_path(self.ctid)}"
        return {k: fact for k, fact in state.items() if k != file and not _THE_GATES.match(k)}


@contextmanager
def container(
    asked: Target, names: Sequence[str], tell: Callable[[str], None]
) -> Iterator[Container]:
    """Create a container with the plan applied, ask it, yield it, and destroy it.

    It is the first of the target's reserved ones. ``names`` are the ids of the scenarios that will
    be asked. ``tell`` gets one line before each long operation.

    Raises:
        UsageError: the target has plain LXC; nothing was changed.
        RemediationError: no container is reserved, or it could not be created or destroyed.
    """
    with (
        connect.opened(asked, lab=lab_address, tell=tell) as runtime,
        tempfile.TemporaryDirectory() as folder,
    ):
        if runtime.kind != "pct":
            raise UsageError(
                f"{runtime.node.machine} has plain LXC, but the faults need pct: "
                "choose a Proxmox host or the lab"
            )
        with thrown_away(runtime, asked, tell, features=desired.FEATURES) as ctid:
            apply(docker_in_lxc.plan(runtime, ctid, repository=asked.repository, tell=tell))
            own = msgspec.structs.replace(asked, ctid=ctid, reserved=())
            file = Path(folder) / "targets.toml"
            file.write_text(target_file.written("faults", own))
            place = ("--target-file", str(file), "--target", "faults")
            tell("running the gate without a fault")
            control = run.ask(names, *place, "--allow-mutation")
            yield Container(runtime, ctid, place, control)
