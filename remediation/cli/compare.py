"""``docker-lxc-gate compare``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.verdict import comparison
from docker_lxc_gate.verdict.comparison import Change
from remediation.cli import printing

_STYLES = {Change.INCOMPARABLE: "yellow", Change.FIXED: "green"}


@click.command(cls=Verb)
@click.argument("before", metavar="BEFORE", type=click.Path(path_type=Path))
@click.argument("after", metavar="AFTER", type=click.Path(path_type=Path))
@with_form()
def compare(before: Path, after: Path, form: str) -> None:
    """Compare two runs of the gate: what was fixed, and what broke.

    BEFORE and AFTER are records of runs: copies of reports/verdict.json. Two verdicts on a scenario
    are incomparable if one is undetermined or missing, or if another plan, node or version of the
    gate took part.

    Exit code 0: nothing broke; 1: a scenario is not compliant, and was compliant or was not asked;
    2: wrong usage, or a file is no record; 3: a scenario is incomparable, a target was not judged
    again, or a run has a problem of its own.
    """
    old, new = (comparison.read(path) for path in (before, after))
    rows = comparison.compared(old, new)
    changes = [row.change for row in rows]
    counts = {change.value: changes.count(change) for change in Change if change in changes}
    problems = [*comparison.unknown(old, new, rows)]
    if form == "json":
        print_json({"counts": counts, "problems": problems, "scenarios": rows})
    else:
        for row in rows:
            if row.change is not Change.UNCHANGED:
                _print(row)
        for problem in problems:
            printing.line(problem, "yellow")
        red = sum(row.red and row.change is Change.UNCHANGED for row in rows)
        still = f" ({red} not compliant)" if red else ""
        printing.line(", ".join(f"{number} {change}" for change, number in counts.items()) + still)
    if any(row.fails for row in rows):
        sys.exit(1)
    sys.exit(3 if problems or Change.INCOMPARABLE in changes else 0)


def _print(row: comparison.Row) -> None:
    name = " ".join(filter(None, [row.target, *row.requirements, row.title]))
    head = f"{row.change}: {name}: {row.before} -> {row.after}"
    why = "" if row.change is Change.FIXED else row.why.partition("\n")[0]
    printing.entry(
        head, "bold red" if row.fails else _STYLES.get(row.change, ""), [("why", why, "")]
    )
