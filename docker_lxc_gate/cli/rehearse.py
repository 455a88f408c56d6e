"""``docker-lxc-gate rehearse``."""

from __future__ import annotations

import sys

import click

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import with_form
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.target import Target
from remediation import rehearsal
from remediation.engine.apply import Seen, apply_side_effects


@click.command(cls=Verb)
@options.yes
@with_form()
@options.with_plan
def rehearse(aim: Target, yes: bool, form: str) -> None:
    """Apply, roll back, compare with before, apply again.

    If anything differs from before, the plan stays rolled back (exit code 5).
    """
    with options.planned(aim) as (runtime, make):
        the_plan = make()
        consent(apply_side_effects(Seen(the_plan.drifts())), yes=yes)

        def look() -> dict[str, str]:
            with Lock.of(runtime.node).held(f"rehearse the plan on container {aim.ctid}"):
                return machine_state.record_target(runtime, aim.ctid)

        stages = []
        # Each stage takes the node's lock for itself: apply, if it fails, releases the lock, which
        # waits for its last command, and then rolls back.
        for stage in rehearsal.rehearse(make, look):
            printing.tell(f"{stage.name}: {stage.said}, {stage.seconds:.0f} s")
            stages.append(stage)
        printing.stages(stages, form)
    if any(stage.differences for stage in stages):
        sys.exit(5)
