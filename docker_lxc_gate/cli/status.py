"""``docker-lxc-gate status``."""

from __future__ import annotations

import sys

import click

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import with_form
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.runtime import pct
from docker_lxc_gate.machines.target import Target


@click.command(cls=Verb)
@options.only
@with_form()
@options.with_plan
def status(aim: Target, only: tuple[str, ...], form: str) -> None:
    """Show the drift of each action. Changes nothing.

    Also shows whether a run was cut off. Exit code 0: no drift; 1: drift, or a run was cut off;
    3: not everything could be checked.
    """
    with options.planned(aim, only) as (runtime, make):
        the_plan = make()
        journal, busy = the_plan.journal, Lock.of(runtime.node).owner()
        entries = {
            entry.action: entry if busy else entry.without_a_run() for entry in journal.entries()
        }
        interrupted = journal.interrupted()
        torn = bool(journal.torn) and not busy  # a run may be writing the line now
        if interrupted is not None and not busy:  # print this first: the checks below may fail
            printing.line(printing.cut_off(journal, interrupted), "yellow", to=printing.err)
        if torn:
            printing.say_if_torn(journal)
        if why := pct.blocked(runtime.node):
            printing.line(why, "yellow", to=printing.err)
        drifts = the_plan.drifts()
    printing.status(
        drifts,
        entries,
        form=form,
        unfinished=interrupted,
        torn=torn,
        busy=busy,
        plan=the_plan,
    )
    if interrupted is not None or any(drift for _, drift in drifts):
        sys.exit(1)
    sys.exit(3 if the_plan.not_checked else 0)
