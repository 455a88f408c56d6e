"""What the command line prints: for people, and as JSON for programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from docker_lxc_gate.commandline.json_output import print_json
from docker_lxc_gate.commandline.output import LONG, SCREEN, Console, error_text
from docker_lxc_gate.lint.formats import STYLES, heading
from docker_lxc_gate.masking import mask, shown
from docker_lxc_gate.printable import Notice, printable
from remediation import docker_in_lxc
from remediation.engine.journal_entries import JournalEntry, Life

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Finding
    from remediation.engine.action import Drift, Step, StepOutcome
    from remediation.engine.journal import Journal
    from remediation.engine.plan import Plan

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
#: The limit for a diff (lines): its time grows with the product, and a guest's file may exploit it.
_COMPARED = 5000


def tell(line: str, style: str = "dim") -> None:
    """Print progress, unless --quiet, or a notice on standard error; ignore a failure to print."""
    if SCREEN.quiet and not isinstance(line, Notice):
        return
    with suppress(OSError):
        err.print(Text(f"… {shown(line, LONG)}", style=style), soft_wrap=True)


def error(what: object) -> None:
    """Print an error."""
    err.print(Text(f"error: {error_text(what)}", style="red"), soft_wrap=True)


def line(text: str, style: str = "", *, to: Console = out) -> None:
    """Print any text as one line."""
    to.print(Text(shown(text, LONG), style=style), soft_wrap=True)


def entry(
    head: str, style: str, rows: Iterable[tuple[str, str, str]], *, indent: int = 4, width: int = 0
) -> None:
    """Print one entry of a report, and below it what is said of it: name, text and style each.

    What has no text is left out.
    """
    line(head, style)
    for name, text, style_of_row in rows:
        if text:
            line(f"{'':{indent}}{name + ':':<{width}} {text}", style_of_row)


def finding(problem: Finding, longest: int = 500) -> None:
    """Print a finding; foreign text up to ``longest`` characters."""
    rows = (("why", problem.why, ""), ("fix", shown(problem.fix, longest), ""))
    head = f"{heading(problem)}: {shown(problem.cause, longest)} [{problem.id}]"
    entry(head, STYLES.get(problem.severity, "red"), rows)


def diff(drift: Drift, is_: str, should: str) -> str:
    """Return a drift as a unified diff; empty if there is no text to compare.

    Secrets are masked after the comparison: a changed secret is visible as a change, masked.
    """
    now, then = _lines(drift.is_), _lines(drift.should)
    if max(len(now), len(then)) > _COMPARED:
        return f"--- {is_}: {len(now)} lines\n+++ {should}: {len(then)} lines, too many to compare"
    return mask("\n".join(difflib.unified_diff(now, then, is_, should, lineterm="")))


def _lines(content: bytes) -> list[str]:
    """Return the lines of a file, with all unprintable characters escaped."""
    return [
        "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line)
        for line in content.decode(errors="backslashreplace").splitlines()
    ]


def difference(name: str, drift: Drift, is_: str, should: str, *, to: Console = out) -> None:
    """Print a drift: its summary, and the diff."""
    line(f"  {name}{': ' if name else ''}{drift.summary}", to=to)
    if text := printable(diff(drift, is_, should)):
        shown = Syntax(text, "diff", background_color="default") if to.is_terminal else text
        to.print(shown, markup=False, soft_wrap=True)


def identity(step: Step) -> dict[str, str]:
    """Return an action's id, title, clause, and machine (the node or the container)."""
    action = step.action
    return {
        "id": action.id,
        "title": action.title,
        "requirement": action.requirement,
        "machine": step.place,
    }


def outcomes(steps: Sequence[StepOutcome], form: str) -> None:
    """Print the outcome of each action."""
    if form == "json":
        print_json(steps)
        return
    changed, unchanged = Text("changed", style="yellow"), Text("unchanged", style="dim")
    rows = (
        (step.requirement, step.title, changed if step.changed else unchanged, step.reason)
        for step in steps
    )
    _print(("clause", "action", "", "why"), rows)


def status(
    drifts: Sequence[tuple[Step, Drift | None]],
    entries: Mapping[str, JournalEntry],
    *,
    unfinished: int | None,
    torn: bool,
    busy: str,
    plan: Plan,
    form: str,
) -> None:
    """Print each action's drift and its state in the journal."""
    ctid = plan.journal.ctid
    if form == "json":
        lives = {action: entry.life for action, entry in entries.items()}
        actions = [
            {
                **identity(step),
                "drift": drift.summary if drift else None,
                "journal": lives.get(step.action.id),
            }
            for step, drift in drifts
        ]
        print_json(
            {
                "ctid": ctid,
                "actions": actions,
                "pending_rollback": [
                    {
                        "id": entry.action,
                        "title": docker_in_lxc.title(entry.action, ctid),
                        "machine": entry.place,
                        "at": entry.at,
                        "journal": entry.life,
                        "plan": entry.plan or None,
                    }
                    for entry in entries.values()
                ],
                "unfinished": unfinished,
                "journal_truncated": torn,
                "locked_by": busy or None,
                "unchecked": list(plan.not_checked),
            }
        )
        return
    rows: list[tuple[object, ...]] = []
    for action, drift in ((step.action, drift) for step, drift in drifts):
        state = Text("drift", style="red") if drift else Text("ok", style="green")
        held, summary = _held(entries.get(action.id)), drift.summary if drift else ""
        rows.append((action.requirement, action.title, state, held, summary))
    asked = {step.action.id for step, _ in drifts}
    for entry in [entry for action, entry in entries.items() if action not in asked]:
        state, title = Text("not checked", style="yellow"), docker_in_lxc.title(entry.action, ctid)
        rows.append(("", title, state, _held(entry), ""))
    _print(("clause", "action", "", "journal", "drift"), rows)
    not_checked(plan)
    if entries:
        out.print(
            f"to roll back these {len(entries)} changes: docker-lxc-gate rollback, with the "
            "same --target; to keep a change that can no longer be rolled back: "
            "docker-lxc-gate journal accept",
            soft_wrap=True,
        )
    if busy:
        line(busy, "yellow")


def _held(entry: JournalEntry | None) -> str:
    if entry is None:
        return ""
    cut_off = "cut off; can be rolled back"
    life = {Life.PENDING: "being changed", Life.INTERRUPTED: cut_off}.get(
        entry.life, "can be rolled back"
    )
    return f"{life} ({entry.plan})" if entry.plan else life


def not_checked(plan: Plan, *, to: Console = out) -> None:
    """Print the parts of the plan that were not checked."""
    for what in plan.not_checked:
        line(f"not checked: {what}", "yellow", to=to)


def journal(path: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Print a journal's lines, without the states."""
    if not lines:
        line(f"{path} is empty: nothing was changed here")
        return
    rows = []
    for record in lines:
        kind = record["kind"].replace("_", " ")
        title = docker_in_lxc.title(record.get("action", ""), record["ctid"])
        rows.append((record["at"], record["ctid"], kind, title, record.get("machine", "")))
    _print(("at", "container", "", "action", "machine"), rows)


def say_if_torn(journal: Journal) -> None:
    """Print a warning if the journal's last line was cut off."""
    if journal.torn:
        sentence = (
            f"the last line of {journal.path} was cut off (by a full disk, or the power): it does "
            "not count. apply changes nothing before its line is whole, so every change can be "
            "rolled back"
        )
        line(sentence, "yellow", to=err)


def cut_off(journal: Journal, ctid: int) -> str:
    """Return the message about a run that was cut off, and how to roll it back."""
    where = "the same --target" if ctid == journal.ctid else f"a --target of container {ctid}"
    return (
        f"a run for container {ctid} did not end ({journal.path}). Roll back its changes: "
        f"docker-lxc-gate rollback, with {where}"
    )


def _print(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: wrapped on a terminal, in whole lines for a program, without rich's markup."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")  # a cut path is useless
    for row in rows:
        cells = (cell if isinstance(cell, Text) else Text(shown(str(cell), LONG)) for cell in row)
        table.add_row(*cells)
    (out if out.is_terminal else Console(width=240, highlight=False)).print(table)
