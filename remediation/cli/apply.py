"""``python -m remediation apply``."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from commandline.target_option import with_target
from facts import backups
from facts.audit import audit_window
from remediation import backup
from remediation.cli import options, printing
from remediation.cli.consent import consent
from remediation.engine.apply import Seen, apply_side_effects, require_reversible
from remediation.engine.apply import apply as apply_plan
from targets.errors import NotClean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from remediation.engine.plan import Plan
    from targets.runtime.base import Runtime
    from targets.target import Target
    from targets.transport import Transport


@click.command()
@options.only
@options.yes
@options.as_json
@click.option(
    "--backup",
    "with_backup",
    is_flag=True,
    help="First back up the container and the node's /etc, and read the archives to their end.",
)
@with_target
def apply(aim: Target, only: tuple[str, ...], yes: bool, as_json: bool, with_backup: bool) -> None:
    """Apply the plan. On an error, roll back what was changed.

    It may restart Docker and the container. If it changes the storage driver, Docker starts empty:
    earlier images and Docker containers are hidden until rollback. See docs/what-changes.md.

    Denials of AppArmor, of anyone on the node, are shown while it runs.
    """
    with options.planned(aim, only) as (runtime, make):
        the_plan = make()
        seen = Seen.of(the_plan)
        require_reversible(seen.drifts)
        # A mistyped id, perhaps.
        absent = [] if the_plan.container_exists else list(the_plan.not_checked)
        consent([*absent, *apply_side_effects(seen.drifts)], yes=yes)
        if with_backup:
            _back_up(the_plan, runtime, aim)
        with _watched(runtime.node, aim.audit) as tell:
            outcomes = apply_plan(replace(the_plan, tell=tell), seen)
    printing.outcomes(outcomes, as_json=as_json)
    if not as_json:
        printing.not_checked(the_plan)


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
        made = backup.make_backup(runtime, aim.ctid, aim.backups or backups.DUMP)
    for archive in (*made.container[:1], *made.etc[:1]):
        printing.tell(str(archive))


@contextmanager
def _watched(node: Transport, source: str) -> Iterator[Callable[[str], None]]:
    """Yield a ``tell`` that first prints AppArmor's denials since its last call.

    The log is watched from the first line on: apply tells it before its first change. If denials
    cannot be read, it says so once, and ``apply`` goes on.
    """
    window: audit_window.Window | None = None
    begun = False

    def tell(line: str) -> None:
        nonlocal window, begun
        if not begun:
            begun, window = True, _opened(node, source)
        try:
            for denial in window.new_denials() if window else ():
                printing.tell(f"denied: {denial.summary}", style="yellow")
        except Exception as error:  # noqa: BLE001 - no error may stop apply here
            _end(window)
            window = None
            printing.tell(f"denials are no longer shown: {error}")
        if line:
            printing.tell(line)

    try:
        yield tell
        if begun:
            tell("")
    finally:
        _end(window)


def _opened(node: Transport, source: str) -> audit_window.Window | None:
    try:
        return audit_window.Window(node, source)
    except Exception as error:  # noqa: BLE001 - no error may stop apply here
        printing.tell(f"denials are not shown: {error}")
        return None


def _end(window: audit_window.Window | None) -> None:
    if window:
        window.end()
