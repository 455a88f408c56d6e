"""Faults on the lab in a chain: each is rolled back, so that the next starts without a restore.

A restore takes seconds, and QEMU then translates all code again. So the lab is restored only for a
fault that starts from another state, and after one whose rollback failed, or restarts something.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.masking import mask_end
from docker_lxc_gate.printable import one_line
from proof.faults import run, states
from proof.faults.fault import COMPLIANT, CTID, Fault, shell
from proof.faults.run import GateProcess, Mismatch, Result
from proof.faults.scenarios import scenarios

if TYPE_CHECKING:
    from docker_lxc_gate.lab.machine import Lab
    from docker_lxc_gate.machines.transport import Transport

#: How long a rollback may take (seconds); a restore takes about ten.
_PATIENCE = 120.0


def ordered(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return faults in the order that needs the fewest restores and restarts.

    First come those that are rolled back. The others follow by the state that they start from.
    """

    def key(fault: Fault) -> tuple[bool, str, bool]:
        return not is_cheap(fault, fault.kills), fault.start, fault.look

    return tuple(sorted(faults, key=key))


def is_cheap(fault: Fault, broken: Sequence[str]) -> bool:
    """Whether a rollback is cheaper than a restore, which takes seconds.

    A restart of the container takes half a minute, and so does what changes something to be asked
    again.
    """
    restarts = any(word in fault.rollback for word in ("restart", "settled"))
    return bool(fault.rollback) and not restarts and not any(scenarios()[n].mutates for n in broken)


class Chain:
    """A run of faults on the lab. No other program may change the lab while it is open.

    The lab is up, with the snapshots that :func:`proof.faults.states.prepare` makes. With
    ``everything`` all scenarios run, not only those that :meth:`Fault.asked` selects.
    """

    def __init__(self, lab: Lab, *, everything: bool = False) -> None:
        self._lab, self._everything = lab, everything
        self._gates: dict[tuple[str, ...], GateProcess] = {}
        #: Closes the connection to the node.
        self._connected = ExitStack()
        self._node: Transport
        #: The state that the lab is known to be in; empty if it is in none.
        self._state = ""

    def __enter__(self) -> Self:
        """Do nothing yet: the first fault starts the gate and restores the lab."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the gates; the lab stays as it is."""
        self._connected.close()
        for gate in self._gates.values():
            gate.__exit__()

    def run(self, fault: Fault) -> Result:
        """Run one fault, and roll it back if it can be.

        If the result is not the expected one, a rollback of an earlier fault may have left
        something. The fault is then run again from its snapshot.
        """
        clock, chained = time.monotonic(), self._state == fault.start
        result = self._attempt(fault)
        if chained and not result.held:
            why = f"after other faults' rollbacks, {result.unasked or result.problems[0]}"
            result = self._attempt(fault)
            result = replace(result, restored=result.restored or why)
        return replace(result, seconds=time.monotonic() - clock)

    def _attempt(self, fault: Fault) -> Result:
        if fault.release and fault.release not in self._lab.state.templates:
            why = f"no template of {fault.release}: docker-lxc-gate lab template"
            return Result(fault, unasked=why)
        state, self._state = self._state, ""
        try:
            gate = self._gate(*run.options(fault, f"lab/{CTID}"))
            if state != fault.start:
                self._connected.close()
                about = states.restored(self._lab, fault.start)
                self._node = self._connected.enter_context(about)
            run.inject(fault, self._node)
            found = gate.ask(fault.asked(everything=self._everything))
        except RemediationError as error:  # go on with the next fault
            return Result(fault, unasked=str(error))
        result = Result(fault, found, run.compare(fault, found))
        broken = [name for name, one in found.items() if one.verdict != COMPLIANT]
        if result.held and is_cheap(fault, broken):
            result = replace(result, restored=self._roll_back(fault, broken, gate))
            self._state = "" if result.restored else fault.start
        return result

    def _gate(self, *options: str) -> GateProcess:
        if options not in self._gates:
            self._gates[options] = GateProcess(*options).__enter__()
        return self._gates[options]

    def _roll_back(self, fault: Fault, broken: Sequence[str], gate: GateProcess) -> str:
        """Roll a fault back, and return what is not compliant again; empty if all is."""
        try:
            done = shell(self._node, fault.rollback, timeout=_PATIENCE)
            if not done.ok:  # its command line is the whole prelude
                said = one_line(mask_end(done.stderr.decode(errors="replace").strip(), 300))
                return f"its rollback ended with {done.exit_code}: {said}"
            again = gate.ask(broken)
        except RemediationError as error:
            return str(error)
        wrong = (
            Mismatch(n, f"is {f.verdict} after the rollback")
            for n, f in again.items()
            if f.verdict != COMPLIANT
        )
        return "; ".join(map(str, wrong))
