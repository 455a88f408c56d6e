"""``python -m remediation``: show, apply, verify and take back the plan."""

from __future__ import annotations

import difflib
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from remediation import docker_in_lxc, target
from remediation.errors import RemediationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remediation.plan import Drift, Outcome, Plan, Step

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)
_target = click.option(
    "--target",
    "where",
    default=target.DEFAULT,
    show_default=True,
    metavar="T",
    help="lab/CTID, local/CTID or [USER@]HOST[:PORT]/CTID, for example root@pve1/950.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    r"""Docker in an unprivileged LXC container: the plan, shown, applied and taken back.

    \b
    Examples:
      python -m remediation plan --target root@pve1/950    what would change
      python -m remediation apply --target root@pve1/950
      python -m remediation rollback --target root@pve1/950

    \b
    Exit codes:
      0  done / no drift        3  the target could not be reached or read
      1  drift                  5  a rollback was not exact
      2  wrong usage
    """


@contextmanager
def _plan(where: str) -> Iterator[Plan]:
    """Open the target's plan; an error of ours ends the program with its exit code."""
    try:
        with target.opened(target.parse(where), tell=_tell) as runtime:
            ctid = target.parse(where).ctid
            yield docker_in_lxc.plan(runtime, ctid, tell=_tell)
    except RemediationError as error:
        _err.print(Text(f"error: {error}", style="red"), soft_wrap=True)
        sys.exit(error.exit_code)


def _tell(line: str) -> None:
    _err.print(Text(f"… {line}", style="dim"))


@main.command()
@_target
def plan(where: str) -> None:
    """Show what apply would change, as unified diffs; changes nothing."""
    with _plan(where) as the_plan:
        drifts = [(step, drift) for step, drift in the_plan.drifts() if drift is not None]
    for step, drift in drifts:
        _show(step, drift)
    for consequence in dict.fromkeys(c.name for step, _ in drifts for c in step.then):
        _out.print(Text(f"then: {consequence}", style="bold"))
    _say_unasked(the_plan)
    _out.print(f"{len(drifts)} to change" if drifts else "nothing to change")


def _show(step: Step, drift: Drift) -> None:
    action = step.action
    _out.print(
        Text(f"{action.requirement}  {action.name}  ({step.on.machine})", style="bold"),
        soft_wrap=True,
    )
    _out.print(Text(f"  {drift.summary}"), soft_wrap=True)
    lines = difflib.unified_diff(
        drift.is_.decode(errors="replace").splitlines(),
        drift.should.decode(errors="replace").splitlines(),
        "is",
        "should be",
        lineterm="",
    )
    if diff := "\n".join(lines):
        _out.print(
            Syntax(diff, "diff", background_color="default") if _out.is_terminal else diff,
            markup=False,
            soft_wrap=True,
        )


@main.command()
@_target
def apply(where: str) -> None:
    """Apply the plan; an error takes everything back."""
    with _plan(where) as the_plan:
        _outcomes(the_plan.apply())
        _say_unasked(the_plan)


@main.command()
@_target
def rollback(where: str) -> None:
    """Take back everything that apply changed, in reverse order."""
    with _plan(where) as the_plan:
        outcomes = the_plan.rollback()
    if outcomes:
        _outcomes(outcomes)
    else:
        _out.print("nothing to take back: the journal is empty")


def _outcomes(outcomes: list[Outcome]) -> None:
    table = Table("requirement", "action", "", "why", box=None, pad_edge=False)
    for outcome in outcomes:
        done = (
            Text("changed", style="yellow") if outcome.changed else Text("unchanged", style="dim")
        )
        table.add_row(outcome.requirement, outcome.name, done, outcome.reason)
    _print_table(table)


def _print_table(table: Table) -> None:
    """Wrapped to a terminal; whole lines where another program reads."""
    if _out.is_terminal:
        _out.print(table)
    else:
        Console(width=200, highlight=False).print(table)


@main.command()
@_target
def status(where: str) -> None:
    """Show the drift, action by action.

    Exit code 0: none; 1: drift, or a run that did not end; 3: not all could be asked.
    """
    with _plan(where) as the_plan:
        drifts = the_plan.drifts()
        unfinished = the_plan.journal.unfinished()
    table = Table("requirement", "action", "", "drift", box=None, pad_edge=False)
    for step, drift in drifts:
        state = Text("drift", style="red") if drift else Text("ok", style="green")
        summary = drift.summary if drift else ""
        table.add_row(step.action.requirement, step.action.name, state, summary)
    _print_table(table)
    _say_unasked(the_plan)
    if unfinished:
        _out.print(
            f"an earlier run did not end ({the_plan.journal.path}): "
            f"python -m remediation rollback --target {where}",
            soft_wrap=True,
        )
    if unfinished or any(drift for _, drift in drifts):
        sys.exit(1)
    sys.exit(3 if the_plan.unasked else 0)


def _say_unasked(the_plan: Plan) -> None:
    for what in the_plan.unasked:
        _out.print(Text(f"not asked: {what}", style="yellow"), soft_wrap=True)


if __name__ == "__main__":
    main(prog_name="python -m remediation")
