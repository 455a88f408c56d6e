"""``docker-lxc-gate apply``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import click

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import with_form
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import backups
from docker_lxc_gate.facts.audit import audit_window
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import Notice
from remediation import backup
from remediation.engine.action import SideEffect
from remediation.engine.apply import Seen, apply_side_effects, require_reversible
from remediation.engine.apply import apply as apply_plan
from remediation.engine.errors import NotClean
from remediation.engine.plan import Plan

#: The least time between two looks at the log while apply runs (seconds).
_OFTEN = 10.0


@click.command(cls=Verb)
@options.only
@options.yes
@with_form()
@click.option(
    "--backup",
    "with_backup",
    is_flag=True,
    help="First back up the container and the node's /etc, and read the archives to their end.",
)
@options.with_plan
def apply(
    aim: Target,
    *,
    only: tuple[str, ...],
    yes: bool,
    form: str,
    with_backup: bool,
) -> None:
    """Apply the plan. On an error, roll back what was changed.

    It may restart Docker and the container. If it changes the storage driver, it carries Docker's
    images and containers over, or says what is hidden until rollback. See docs/what-changes.md.

    Denials of AppArmor, of anyone on the node, are shown while it runs.
    """
    with options.planned(aim, only) as (runtime, make):
        the_plan = make()
        agreed = partial(_agreed, the_plan, yes=yes)
        seen, shown = None, None
        if not yes or with_backup:  # nobody else waits for a person, or for a backup
            if with_backup:
                backup.require_unfrozen(runtime, aim.ctid, aim.backups or backups.DUMP)
            shown = agreed(seen := Seen.with_journal(the_plan))
        if with_backup:
            _back_up(the_plan, runtime, aim)
            seen = None  # a backup may take an hour: all is looked at again
        with _watched(runtime.node) as tell:
            told = replace(the_plan, tell=tell)
            outcomes = apply_plan(told, seen, consent=partial(agreed, shown=shown))
        printing.outcomes(outcomes, form)
        printing.not_checked(the_plan, to=printing.err if form == "json" else printing.out)


def _agreed(
    the_plan: Plan,
    seen: Seen,
    *,
    yes: bool,
    shown: Sequence[SideEffect | str] | None = None,
) -> list[SideEffect | str]:
    """Refuse what could not be rolled back; let the user decide on the side effects, return them.

    ``shown`` is what the user agreed to before the node was locked, if anyone was asked then.
    Raises FactError if there are others than the user agreed to. Under the lock nobody is asked.
    """
    require_reversible(seen)
    # A mistyped id, perhaps.
    absent = () if the_plan.container_exists else the_plan.not_checked
    side_effects: list[SideEffect | str] = [*absent, *apply_side_effects(seen)]
    new = [side_effect for side_effect in side_effects if side_effect not in (shown or ())]
    if new and shown is not None and not yes:
        raise FactError(
            "the target has changed since you agreed, and nothing was changed by apply. It would "
            f"now do this, too: {'; '.join(map(str, new))}. Run it again; a backup that was made "
            "counts"
        )
    consent(new, yes=yes)
    return side_effects


def _back_up(the_plan: Plan, runtime: Runtime, aim: Target) -> None:
    """Back up the container and /etc, unless the plan could not be applied afterwards.

    Raises:
        NotClean: a run did not end.
        LockedError: another run holds the lock.
    """
    journal = the_plan.journal
    with the_plan.exclusive(f"back up container {aim.ctid} before the plan is applied"):
        journal.forget()
        if (interrupted := journal.interrupted()) is not None:
            raise NotClean(f"nothing was backed up: {printing.cut_off(journal, interrupted)}")
        printing.tell(f"backing up container {aim.ctid} and /etc")
        place = aim.backups or backups.DUMP
        keep = partial(journal.keep, "container-options")
        made = backup.make_backup(runtime, aim.ctid, place, printing.tell, keep)
    for archive in (*made.container[:1], *made.etc[:1]):
        printing.tell(Notice(archive))


@contextmanager
def _watched(node: Transport, often: float = _OFTEN) -> Iterator[Callable[[str], None]]:
    """Yield a ``tell`` that first prints AppArmor's denials since the log was last read.

    The log is watched from the first line on: apply tells it before its first change. It is read
    again at the next line after so many seconds, and at the end, also of an apply that failed. If
    denials cannot be read, it says so once, and ``apply`` goes on.
    """
    window: audit_window.Window | None = None
    begun, last, ends = False, 0.0, ExitStack()

    def tell(line: str) -> None:
        nonlocal window, begun, last
        if not begun:
            begun, window, last = True, _opened(node, ends), time.monotonic()
        due = not line or time.monotonic() >= last + often
        try:
            for denial in window.new_denials() if window and due else ():
                printing.tell(Notice(f"denied: {denial.summary}"), style="yellow")
            last = time.monotonic() if due else last
        except Exception as error:  # noqa: BLE001 - no error may stop apply here
            ends.close()
            window = None
            printing.tell(Notice(f"denials are no longer shown: {error}"))
        if line:
            printing.tell(line)

    with ends:
        try:
            yield tell
        except Exception:
            if begun:  # the reason why apply failed, perhaps
                tell("")
            raise
        if begun:
            tell("")


def _opened(node: Transport, ends: ExitStack) -> audit_window.Window | None:
    try:
        window = audit_window.Window(node)
    except Exception as error:  # noqa: BLE001 - no error may stop apply here
        printing.tell(Notice(f"denials are not shown: {error}"))
        return None
    ends.callback(window.end)
    return window
