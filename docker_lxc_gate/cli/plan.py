"""``docker-lxc-gate plan``."""

from __future__ import annotations

import click
from rich.text import Text

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.target import Target
from remediation.engine.apply import apply_side_effects


@click.command(cls=Verb)
@options.only
@with_form()
@options.with_plan
def plan(aim: Target, only: tuple[str, ...], form: str) -> None:
    """Show what apply would change, as unified diffs. Changes nothing."""
    with options.planned(aim, only) as (_, make):
        the_plan = make()
        drifts = [(step, drift) for step, drift in the_plan.drifts() if drift is not None]
        side_effects: list[str] = []
        for drifted in drifts:
            try:
                side_effects += map(str, apply_side_effects([drifted]))
            except FactError as refused:
                side_effects.append(f"apply would refuse to start: {refused}")
    if form == "json":
        print_json(
            {
                "ctid": aim.ctid,
                "plan": the_plan.journal.plan,
                "changes": [
                    {
                        **printing.identity(step),
                        "drift": drift.summary,
                        "diff": printing.diff(drift, "is", "should be"),
                    }
                    for step, drift in drifts
                ],
                "side_effects": side_effects,
                "unchecked": list(the_plan.not_checked),
            }
        )
        return
    for step, drift in drifts:
        action = step.action
        printing.line(f"{action.requirement}  {action.title}  ({step.on.machine})", "bold")
        printing.difference("", drift, "is", "should be")
    for consequence in dict.fromkeys(c.title for step, _ in drifts for c in step.then):
        printing.out.print(Text(f"then: {consequence}", style="bold"))
    for side_effect in side_effects:
        printing.line(f"side effect: {side_effect}", "yellow")
    printing.not_checked(the_plan)
    printing.out.print(f"{len(drifts)} to change" if drifts else "nothing to change")
