"""``docker-lxc-gate rollback``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import with_form
from docker_lxc_gate.errors import Elsewhere
from remediation import plan_file
from remediation.engine.rollback import roll_back, rollback_side_effects

if TYPE_CHECKING:
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport
    from remediation.engine.journal import Journal
    from remediation.engine.plan import Plan
    from remediation.plan_file import PlanFile


@click.command(cls=Verb)
@options.only
@options.yes
@with_form()
@click.option(
    "--force",
    is_flag=True,
    help="Overwrite what somebody changed since apply. A copy is kept.",
)
@options.with_plan
def rollback(aim: Target, only: tuple[str, ...], yes: bool, form: str, force: bool) -> None:
    """Roll back what apply changed, in reverse order.

    Exit code 5: not everything could be rolled back, or somebody changed it since.

    If the container has moved to another node of the cluster, only the node's part is rolled back,
    and the exit code is 3, because the container's part is left.
    """
    left: list[str] = []
    with options.planned(aim, choose=False) as (runtime, make):
        try:
            whole = make(wanted=None)
            if (wanted := _applied(whole.journal, aim)) != plan_file.find():
                whole = make(wanted=wanted, every=True)
        except Elsewhere as moved:
            whole = make(of_node=True, wanted=None)
            left = _left(whole, runtime.node, moved)
        the_plan = whole.only(only)
        the_plan.journal.lines()
        printing.say_if_torn(the_plan.journal)
        consent([*rollback_side_effects(the_plan), *left], yes=yes)
        outcomes = roll_back(the_plan, force=force)
    if outcomes or form == "json":
        printing.outcomes(outcomes, form)
    else:
        what = "no such change" if only else "no change"
        where = " here" if left else f": the journal holds {what} of container {aim.ctid}"
        printing.out.print(f"nothing to roll back{where}")
    sys.exit(3 if left else 0)


def _applied(journal: Journal, aim: Target) -> PlanFile:
    """Return the plan whose run the journal holds; only it knows what a run that was cut off wrote.

    One of a file is known if ``--plan`` or the target names it.
    """
    identities = {entry.plan for entry in journal.entries()}
    known = (plan_file.find(aim.plan), plan_file.find("plain"))
    return next((plan for plan in known if plan.identity in identities), plan_file.find())


def _left(of_node: Plan, node: Transport, moved: Elsewhere) -> list[str]:
    """Return the message about the changes that stay on a container that has moved.

    Raises Elsewhere if a run was cut off in the container. It must come back before this rollback,
    since it cannot start without the node's profile, and apply refuses to run before.
    """
    known = {step.action.id for step in of_node.steps}
    theirs = [e for e in of_node.journal.entries() if e.action not in known]
    if not all(entry.complete for entry in theirs):
        raise moved
    ctid, here = of_node.journal.ctid, node.look(["uname", "-n"]).text.partition(".")[0].strip()
    there, many = moved.node, len(theirs)
    sentence = (
        f"container {ctid} is on {there}: its changes ({many} actions) stay, and their "
        f"before-images stay in the journal here. To roll them back, too: on {there}, pct shutdown "
        f"{ctid} and pct migrate {ctid} {here}; then, with the same --target, apply (without the "
        "profile it does not start) and rollback"
    )
    return [sentence] if theirs else []
