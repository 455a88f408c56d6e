"""``python -m remediation``: show, apply, verify and take back the plan."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.text import Text

from commandline.output import run
from commandline.target_option import with_target
from facts import audit_window, backups, machine_state
from remediation import docker_in_lxc, provision
from remediation.cli import printing
from remediation.cli.printing import err, out
from remediation.engine import rehearsal
from remediation.engine.journal import Journal
from remediation.engine.plan import require_known
from remediation.look import looking
from targets import target
from targets.errors import (
    Elsewhere,
    Meddled,
    NotClean,
    RemediationError,
    RollbackFailed,
    UsageError,
)
from targets.lock import Lock
from targets.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from remediation.engine.journal_entries import Entry
    from remediation.engine.plan import Plan
    from targets.runtime.base import Runtime
    from targets.target import Target
    from targets.transport import Transport


def _known(_: click.Context, __: click.Parameter, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no plan has an action for; a node may have fewer."""
    require_known(asked, docker_in_lxc.CLAUSES, docker_in_lxc.ACTIONS)
    return asked


_only = click.option(
    "--only",
    multiple=True,
    callback=_known,
    metavar="ID",
    help="Only the actions of this clause, of all clauses that begin so (STEP-2), or the one with "
    "this id. May be repeated. There are "
    + ", ".join([*docker_in_lxc.CLAUSES, *docker_in_lxc.ACTIONS])
    + ".",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_yes = click.option(
    "--yes", "-y", is_flag=True, help="Do not ask before anything is stopped or removed."
)


class _Commands(click.Group):
    """Ends with an error's own exit code and its text, never with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RemediationError as error:
            if isinstance(error.__cause__, RemediationError):
                printing.error(error.__cause__)
            printing.error(error)
            if isinstance(error, Meddled):
                for name, drift in error.changes.items():
                    printing.difference(name, drift, "the plan left", "is now", to=err)
            if isinstance(error, RollbackFailed):
                for name, drift in error.changes:
                    printing.difference(name, drift, "before the plan", "is now", to=err)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            printing.error(
                "interrupted; what is left, python -m remediation status says (with this --target)"
            )
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Show, apply, verify and roll back the plan "Docker in Unprivileged LXC".

    \b
    Examples:
      python -m remediation plan --target root@pve1/950      what would change
      python -m remediation apply --target root@pve1/950
      python -m remediation rollback --target root@pve1/950
      python -m remediation rehearse --target root@pve1/951  there and back
      python -m remediation create --target-file F --target NAME

    \b
    Exit codes:
      0    done; status: no drift; plan: shown, whatever it shows
      1    status: drift, or a run that was cut off; apply: drift was left,
           and all was rolled back; you said no, and nothing was changed
      2    wrong usage
      3    the target could not be reached or read, or is in use
      5    not everything could be rolled back, or somebody changed it
           since; rehearse: something differs
      130  interrupted (Ctrl-C)
    """  # noqa: D301 - click's mark for lines that are not to be wrapped


@contextmanager
def _opened(aim: Target, only: Sequence[str] = ()) -> Iterator[tuple[Runtime, Callable[..., Plan]]]:
    """Open the target; the second of the pair makes its plan anew each time."""
    with target.opened(aim, tell=printing.tell) as runtime:

        def plan(**part: bool) -> Plan:
            whole = docker_in_lxc.plan(
                runtime, aim.ctid, repository=aim.repository, tell=printing.tell, **part
            )
            return whole.only(only)

        yield runtime, plan


def _consent(price: Sequence[str], *, yes: bool) -> None:
    """Ask before anything is stopped, hidden or removed; without a terminal, refuse."""
    if not price:
        return
    err.print(Text("this will happen on the way:", style="bold"))
    for sentence in price:
        printing.line(f"  {sentence}", "yellow", to=err)
    if yes:
        return
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError("nobody can be asked here whether that is wished: give --yes")
    try:
        agreed = click.confirm("go on?", default=False, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):  # the end of the input is a no
            raise
        raise KeyboardInterrupt from error  # Ctrl-C is no answer
    if not agreed:
        raise click.Abort


@main.command()
@with_target
def create(aim: Target) -> None:
    """Create and start the container from the target file's template.

    Refused if the container exists. A container that was created but cannot be started is destroyed
    again. No other command here destroys it; pct destroy does.
    """
    with target.opened(aim, tell=printing.tell) as runtime:
        argv = aim.creation(aim.ctid, features=docker_in_lxc.FEATURES)
        provision.create(runtime, aim.ctid, argv, printing.tell)
        provision.boot_created(runtime, aim.ctid)
    out.print(
        f"container {aim.ctid} is running, without the plan. Now, with the same --target: "
        "python -m remediation apply",
        soft_wrap=True,
    )


@main.command()
@_only
@_json
@with_target
def plan(aim: Target, only: tuple[str, ...], as_json: bool) -> None:
    """Show what apply would change, as unified diffs. Changes nothing."""
    with _opened(aim, only) as (runtime, make):
        the_plan = looking(make(), runtime.node)
        found = the_plan.drifts()
        price = the_plan.price(found)
    drifts = [(step, drift) for step, drift in found if drift is not None]
    if as_json:
        printing.print_json(
            {
                "ctid": aim.ctid,
                "changes": [
                    {
                        **printing.identity(step),
                        "drift": drift.summary,
                        "diff": printing.diff(drift, "is", "should be"),
                    }
                    for step, drift in drifts
                ],
                "side_effects": price,
                "unchecked": list(the_plan.unasked),
            }
        )
        return
    for step, drift in drifts:
        action = step.action
        printing.line(f"{action.requirement}  {action.title}  ({step.on.machine})", "bold")
        printing.difference("", drift, "is", "should be")
    for consequence in dict.fromkeys(c.title for step, _ in drifts for c in step.then):
        out.print(Text(f"then: {consequence}", style="bold"))
    for sentence in price:
        printing.line(f"on the way: {sentence}", "yellow")
    printing.not_asked(the_plan)
    out.print(f"{len(drifts)} to change" if drifts else "nothing to change")


@contextmanager
def _watched(node: Transport, source: str) -> Iterator[Callable[[str], None]]:
    """Yield a ``tell`` that first says what AppArmor has denied since it was last called.

    Nobody leaves the node half-way through because denials cannot be shown: that is said, once.
    """
    try:
        window, shown = audit_window.Window(node, source), True
    except RemediationError as error:
        window, shown = None, False
        printing.tell(f"denials are not shown: {error}")

    def tell(line: str) -> None:
        nonlocal shown
        try:
            for denial in window.news() if window and shown else ():
                printing.tell(f"denied: {denial.summary}", style="yellow")
        except Exception as error:  # noqa: BLE001 - whatever it is
            shown = False
            printing.tell(f"denials are not shown any more: {error}")
        if line:
            printing.tell(line)

    try:
        yield tell
        tell("")
    finally:
        if window:
            window.end()


@main.command()
@_only
@_yes
@_json
@click.option(
    "--backup",
    "with_backup",
    is_flag=True,
    help="First back up the container and the node's /etc, and read the archives to their end.",
)
@with_target
def apply(aim: Target, only: tuple[str, ...], yes: bool, as_json: bool, with_backup: bool) -> None:
    """Apply the plan. On an error, roll back what was changed.

    Denials of AppArmor, of anyone on the node, are shown while it runs.
    """
    with _opened(aim, only) as (runtime, make):
        the_plan = make()
        found = the_plan.drifts()
        the_plan.require_reversible(found)
        absent = [] if the_plan.there else list(the_plan.unasked)  # a mistyped id, perhaps
        _consent([*absent, *the_plan.price(found)], yes=yes)
        if with_backup:
            _back_up(the_plan, runtime, aim)
        with _watched(runtime.node, aim.audit) as tell:
            the_plan.tell = tell
            outcomes = the_plan.apply()
    printing.outcomes(outcomes, as_json=as_json)
    if not as_json:
        printing.not_asked(the_plan)


def _back_up(the_plan: Plan, runtime: Runtime, aim: Target) -> None:
    """Back up the container and /etc, unless the plan could not be applied afterwards.

    Raises:
        NotClean: a run did not end.
        LockedError: another run has the node.
    """
    journal = the_plan.journal
    with the_plan.exclusive(f"back up container {aim.ctid} before the plan is applied"):
        journal.forget()
        if (interrupted := journal.interrupted()) is not None:
            raise NotClean(f"nothing was backed up: {_cut_off(journal, interrupted)}")
        printing.tell(f"backing up container {aim.ctid} and /etc")
        made = backups.make_backup(runtime, aim.ctid, aim.backups or backups.DUMP)
    for archive in (*made.container[:1], *made.etc[:1]):
        printing.tell(str(archive))


@main.command()
@_only
@_yes
@_json
@click.option(
    "--force",
    is_flag=True,
    help="Overwrite what somebody changed since apply. A copy is kept.",
)
@with_target
def rollback(aim: Target, only: tuple[str, ...], yes: bool, as_json: bool, force: bool) -> None:
    """Roll back what apply changed, in reverse order.

    Exit code 5: not everything could be rolled back, or somebody changed it since.

    If the container has moved to another node of the cluster, only the node's part is rolled back.
    Exit code 3 then says that the container's part is left.
    """
    left: list[str] = []
    with _opened(aim) as (runtime, make):
        try:
            whole = make()
        except Elsewhere as moved:
            whole = make(of_node=True)
            left = _left(whole, runtime.node, moved)
        the_plan = whole.only(only)
        _say_if_torn(the_plan.journal)
        _consent([*the_plan.rollback_price(), *left], yes=yes)
        outcomes = the_plan.rollback(force=force)
    if outcomes or as_json:
        printing.outcomes(outcomes, as_json=as_json)
    else:
        out.print(f"nothing to take back{' here' if left else ': the journal is empty'}")
    sys.exit(3 if left else 0)


def _left(of_node: Plan, node: Transport, moved: Elsewhere) -> list[str]:
    """Return what is not taken back where the container is not, and how it would be, if any is.

    Raises:
        Elsewhere: a run was cut off in the container. Until it is taken back nothing is applied,
            and without the profile on the node it does not start: it has to come back first.
    """
    known = {step.action.id for step in of_node.steps}
    theirs = [e for e in of_node.journal.entries() if e.action not in known]
    if not all(entry.complete for entry in theirs):
        raise moved
    ctid, here = of_node.journal.ctid, node.run(["uname", "-n"]).text.partition(".")[0].strip()
    there, many = moved.node, len(theirs)
    sentence = (
        f"container {ctid} is on {there}: what was changed of it ({many} actions) stays so, and in "
        f"the journal here. To take that back, too: on {there}, pct shutdown {ctid} and "
        f"pct migrate {ctid} {here}; then, with the same --target, apply (without the profile it "
        "does not start) and rollback"
    )
    return [sentence] if theirs else []


@main.command()
@_only
@_json
@with_target
def status(aim: Target, only: tuple[str, ...], as_json: bool) -> None:
    """Show what differs from the plan. Changes nothing.

    Shows each action, and whether a run was cut off. Exit code 0: no drift; 1: drift, or a run that
    was cut off; 3: not everything could be checked.
    """
    with _opened(aim, only) as (runtime, make):
        the_plan = looking(make(), runtime.node)
        journal, busy = the_plan.journal, Lock.of(runtime.node).owner()
        entries = {
            entry.action: entry if busy else entry.without_a_run() for entry in journal.entries()
        }
        interrupted = journal.interrupted()
        torn = journal.torn and not busy  # a run that is writing has not cut it off
        if interrupted is not None and not busy:  # first: what follows may not be answered
            printing.line(_cut_off(journal, interrupted), "yellow", to=err)
        if torn:
            _say_if_torn(journal)
        drifts = the_plan.drifts()
    printing.status(
        drifts,
        entries,
        as_json=as_json,
        unfinished=interrupted,
        torn=torn,
        busy=busy,
        plan=the_plan,
    )
    if interrupted is not None or any(drift for _, drift in drifts):
        sys.exit(1)
    sys.exit(3 if the_plan.unasked else 0)


def _say_if_torn(journal: Journal) -> None:
    """Say that the journal's last line does not count, if it was cut off."""
    if journal.torn:
        sentence = (
            f"the last line of {journal.path} was cut off (by a full disk, or the power): it does "
            "not count. A change is begun only when the line before it is whole, so what was "
            "changed can be taken back"
        )
        printing.line(sentence, "yellow", to=err)


def _cut_off(journal: Journal, ctid: int) -> str:
    where = "the same --target" if ctid == journal.ctid else f"a --target of container {ctid}"
    return (
        f"a run for container {ctid} did not end ({journal.path}). Take back what it did: "
        f"python -m remediation rollback, with {where}"
    )


@main.command()
@_yes
@_json
@with_target
def rehearse(aim: Target, yes: bool, as_json: bool) -> None:
    """Apply, roll back, compare with before, apply again.

    If anything differs from before, the plan stays rolled back (exit code 5).
    """
    with _opened(aim) as (runtime, make):
        the_plan = make()
        _consent(the_plan.price(the_plan.drifts()), yes=yes)
        look = partial(machine_state.both, runtime, aim.ctid)
        stages = []
        with Lock.of(runtime.node).held(f"rehearse the plan on container {aim.ctid}"):
            for stage in rehearsal.rehearse(make, look):
                printing.tell(f"{stage.name}: {stage.said}, {stage.seconds:.0f} s")
                stages.append(stage)
    printing.stages(stages, as_json=as_json)
    if any(stage.differences for stage in stages):
        sys.exit(5)


@main.group()
def journal() -> None:
    """Read the before-images, or let a change stay."""


@contextmanager
def _journal(aim: Target) -> Iterator[tuple[Journal, Transport]]:
    with target.opened(aim, tell=printing.tell) as runtime:
        yield Journal(runtime.node, aim.ctid), runtime.node


@journal.command()
@_json
@with_target
def show(aim: Target, as_json: bool) -> None:
    """Show what was done, line by line. The before-images themselves are in the export."""
    with _journal(aim) as (the_journal, _):
        lines = [msgspec.to_builtins(line) for line in the_journal.lines()]
    if as_json:
        printing.print_json(
            [{k: v for k, v in line.items() if k != "state"} | _titled(line) for line in lines]
        )
    else:
        printing.journal(the_journal.path, lines)


def _titled(line: dict[str, Any]) -> dict[str, str]:
    """Return the title of the action that a line is of, if it is of one."""
    action = line.get("action")
    return {"title": docker_in_lxc.title(action, line["ctid"])} if action else {}


@journal.command()
@click.option("--with-secrets", is_flag=True, help="Do not mask passwords, tokens and keys.")
@with_target
def export(aim: Target, *, with_secrets: bool) -> None:
    """Write the whole journal to standard output, one JSON object a line.

    All before-images are included, also large contents, which lie beside the journal. Secrets are
    masked, so that you can show the output to somebody. A copy to restore from needs
    --with-secrets.
    """
    with _journal(aim) as (the_journal, _):
        lines = the_journal.exported()
    for line in lines:
        click.echo(printing.json_line(line if with_secrets else masked(line)))


@journal.command()
@click.argument("actions", nargs=-1, metavar="[ACTION]...")
@click.option("--all", "every", is_flag=True, help="Every action that is not rolled back.")
@_yes
@with_target
def accept(aim: Target, actions: tuple[str, ...], *, every: bool, yes: bool) -> None:
    """Let a change of the plan stay, for good.

    For what can never be rolled back (its container was destroyed, its file is gone), or what
    somebody changed on purpose. Only the journal changes: rollback skips these actions, and their
    before-images stay there to be read. Name an ACTION by its id, or by its title as status shows
    it. The container need not exist.
    """
    if every and actions:
        raise UsageError("either name what is to stay, or say --all")
    doing = f"let stay what was changed of container {aim.ctid}"
    # Held while it is asked, too: what is shown is what is let go.
    with _journal(aim) as (the_journal, node), Lock.of(node).held(doing):
        ids = [entry.action for entry in the_journal.entries()]
        if not ids:
            out.print(f"nothing is to be taken back of container {aim.ctid}")
            return
        if not every and not actions:
            raise UsageError(f"name what is to stay, or say --all: {_quoted(ids)}")
        by_title = {docker_in_lxc.title(each, aim.ctid): each for each in ids}
        named = [by_title.get(each, each) for each in actions]
        chosen = the_journal.named(ids if every else named)
        _consent([_stays(the_journal, entry) for entry in chosen], yes=yes)
        the_journal.accept(entry.action for entry in chosen)
        left = [entry.action for entry in the_journal.entries()]
    out.print(
        f"{len(chosen)} left as they are; what was there before is in {the_journal.path}",
        soft_wrap=True,
    )
    if left:
        out.print(f"still to be taken back: {_quoted(left)}", soft_wrap=True)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _stays(of: Journal, entry: Entry) -> str:
    title = docker_in_lxc.title(entry.action, of.ctid)
    return (
        f"{title} (on {of.name(entry.place)}, changed {entry.at}): stays as it is, and rollback "
        "will not take it back"
    )


if __name__ == "__main__":
    run(main, "python -m remediation")
