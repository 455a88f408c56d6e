"""``docker-lxc-gate journal``: show, export and accept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.commandline.exit_codes import VerbGroup
from docker_lxc_gate.commandline.json_output import json_line, print_json, with_form
from docker_lxc_gate.commandline.target_option import with_target
from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.masking import masked
from remediation import docker_in_lxc
from remediation.engine.action import Place
from remediation.engine.journal import Journal

if TYPE_CHECKING:
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport
    from remediation.engine.journal_entries import JournalEntry


@click.group(cls=VerbGroup)
def journal() -> None:
    """Read the before-images, or keep a change for good."""


@contextmanager
def _journal(aim: Target) -> Iterator[tuple[Journal, Transport]]:
    with options.opened(aim) as runtime:
        yield Journal(runtime.node, aim.ctid), runtime.node


@journal.command()
@with_form()
@with_target
def show(aim: Target, form: str) -> None:
    """Show what was done, line by line. The before-images themselves are in the export."""
    with _journal(aim) as (the_journal, _):
        lines = [msgspec.to_builtins(line) for line in the_journal.lines()]
    if form == "json":
        print_json(
            [{k: v for k, v in line.items() if k != "state"} | _titled(line) for line in lines]
        )
    else:
        printing.journal(the_journal.path, lines)


def _titled(line: dict[str, Any]) -> dict[str, str]:
    """Return the title of a line's action, if it has one."""
    action = line.get("action")
    return {"title": docker_in_lxc.title(action, line["ctid"])} if action else {}


@journal.command()
@click.option("--with-secrets", is_flag=True, help="Do not mask passwords, tokens and keys.")
@with_target
def export(aim: Target, *, with_secrets: bool) -> None:
    """Write the whole journal to standard output, one JSON object a line.

    The export has all before-images, even large ones, which are stored next to the journal. Secrets
    are masked, so that you can show the output to somebody. A copy to restore from needs
    --with-secrets.
    """
    with _journal(aim) as (the_journal, _):
        try:
            lines = [the_journal.whole(msgspec.to_builtins(line)) for line in the_journal.lines()]
        except FactError as error:
            raise FactError(
                f"{error}\nNothing was exported. To copy everything, with the damage, run on "
                f"{the_journal.machine}: tar -cf journal.tar -C {the_journal.directory} ."
            ) from error
    for line in lines:
        click.echo(json_line(line if with_secrets else masked(line), exactly=True))


@journal.command()
@click.argument("actions", nargs=-1, metavar="[ACTION]...")
@click.option("--all", "every", is_flag=True, help="Every action that is not rolled back.")
@options.yes
@with_form()
@with_target
def accept(aim: Target, actions: tuple[str, ...], *, every: bool, yes: bool, form: str) -> None:
    """Keep a change of the plan for good.

    Use it for a change that can never be rolled back (its container was destroyed, its file is
    gone), or one that somebody edited on purpose. Only the journal changes: rollback skips these
    actions, and their before-images stay readable there. Name an ACTION by its id, or by its title
    as status shows it. The container need not exist.
    """
    if every and actions:
        raise UsageError("either name the actions to keep, or give --all")
    doing = f"keep changes of container {aim.ctid}"
    # The lock also covers the question, so that the user confirms exactly these changes.
    with _journal(aim) as (the_journal, node), Lock.of(node).held(doing):
        entries = {entry.action: entry for entry in the_journal.entries()}
        ids = [*entries]
        if ids and not every and not actions:
            raise UsageError(f"name the actions to keep, or give --all: {_quoted(ids)}")
        by_title = {docker_in_lxc.title(action, aim.ctid): action for action in ids}
        named = [by_title.get(name, name) for name in actions]
        if ids and (unknown := [name for name in named if name not in entries]):
            raise UsageError(
                f"{the_journal.path} on {the_journal.machine} holds nothing of container "
                f"{aim.ctid} that is to be rolled back under the name {unknown[0]!r}; there are: "
                f"{_quoted(ids)}"
            )
        chosen = [entry for entry in entries.values() if every or entry.action in named]
        consent([_stays(the_journal, entry) for entry in chosen], yes=yes)
        the_journal.accept(entry.action for entry in chosen)
        left = [entry.action for entry in the_journal.entries()]
    if form == "json":
        print_json({"kept": [entry.action for entry in chosen], "left": left})
        return
    kept = f"{len(chosen)} kept; their before-images are in {the_journal.path}"
    printing.line(kept if ids else f"container {aim.ctid} has no changes to roll back")
    if left:
        printing.line(f"still to be rolled back: {_quoted(left)}")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _stays(of: Journal, entry: JournalEntry) -> str:
    title = docker_in_lxc.title(entry.action, of.ctid)
    machine = of.machine if entry.place is Place.NODE else f"container {of.ctid}"
    return f"{title} (on {machine}, changed {entry.at}): the change stays, and rollback skips it"
