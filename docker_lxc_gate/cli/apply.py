"""``docker-lxc-gate apply``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import click
from msgspec import structs

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import with_form
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.target import Target
from remediation.engine.action import SideEffect
from remediation.engine.apply import Drifts, apply_side_effects
from remediation.engine.apply import apply as apply_plan
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back_last_run


@click.command(cls=Verb)
@options.only
@options.yes
@with_form()
@click.option(
    "--or-rollback",
    "or_back",
    is_flag=True,
    help="Run the read-only gate before and afterwards; roll back if a scenario broke (exit 1).",
)
@options.with_plan
def apply(
    aim: Target,
    *,
    only: tuple[str, ...],
    yes: bool,
    form: str,
    or_back: bool,
) -> None:
    """Apply the plan. On an error, roll back what was changed.

    It may restart Docker and the container. If it changes the storage driver, it carries Docker's
    images and containers over, or says what is hidden until rollback. See docs/what-changes.md.
    """
    if or_back:  # it loads pytest
        from docker_lxc_gate.cli import judged  # noqa: PLC0415
    with options.planned(aim, only) as (_, make):
        the_plan = make()
        before = None
        if or_back:  # both runs by the plan that is applied, whatever the node shows meanwhile
            aim = structs.replace(aim, plan=aim.plan or the_plan.journal.plan.partition(" ")[0])
            before = judged.judge(aim)
        agreed = partial(_agreed, the_plan, yes=yes)
        shown = None
        if not yes:  # nobody else waits for a person
            shown = agreed(the_plan.drifts())
        outcomes = apply_plan(the_plan, consent=partial(agreed, shown=shown))
        printing.outcomes(outcomes, form)
        printing.not_checked(the_plan, to=printing.err if form == "json" else printing.out)
        changed = {outcome.id for outcome in outcomes if outcome.changed}
        if before and (code := judged.compared(before, judged.judge(aim))):
            if code == 1 and changed:
                again = make()
                with again.exclusive(f"roll back what broke container {aim.ctid}"):
                    roll_back_last_run(again, changed)
                printing.line("a scenario broke: rolled back", "red", to=printing.err)
            sys.exit(code)


def _agreed(
    the_plan: Plan,
    drifts: Drifts,
    *,
    yes: bool,
    shown: Sequence[SideEffect | str] | None = None,
) -> list[SideEffect | str]:
    """Refuse what could not be rolled back; let the user decide on the side effects, return them.

    ``shown`` is what the user agreed to before the node was locked, if anyone was asked then.
    Raises FactError if there are others than the user agreed to. Under the lock nobody is asked.
    """
    # A mistyped id, perhaps.
    absent = () if the_plan.container_exists else the_plan.not_checked
    side_effects: list[SideEffect | str] = [*absent, *apply_side_effects(drifts)]
    new = [side_effect for side_effect in side_effects if side_effect not in (shown or ())]
    if new and shown is not None and not yes:
        raise FactError(
            "the target has changed since you agreed, and nothing was changed by apply. It would "
            f"now do this, too: {'; '.join(map(str, new))}. Run it again"
        )
    consent(new, yes=yes)
    return side_effects
