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

_STYLES = {Change.BROKEN: "bold red", Change.INCOMPARABLE: "yellow", Change.FIXED: "green"}


@click.command(cls=Verb)
@click.argument("before", metavar="BEFORE", type=click.Path(path_type=Path))
@click.argument("after", metavar="AFTER", type=click.Path(path_type=Path))
@with_form()
def compare(before: Path, after: Path, form: str) -> None:
    """Compare two runs of the gate: what was fixed, and what broke.

    BEFORE and AFTER are records of runs, reports/verdict.json. Two verdicts on a scenario are
    incomparable if one is undetermined, or if another plan or version of the gate judged.

    Exit code 0: nothing broke; 1: a scenario is not compliant now, and was compliant or was not
    asked; 2: wrong usage, or a file is no record; 3: a scenario is incomparable.
    """
    runs = [comparison.read(path) for path in (before, after)]
    rows = sorted(comparison.compared(*runs), key=lambda row: [*Change].index(row.change))
    changes = [row.change for row in rows]
    counts = {change.value: changes.count(change) for change in Change if change in changes}
    if form == "json":
        print_json({"counts": counts, "scenarios": rows})
    else:
        for row in rows:
            if row.change is not Change.UNCHANGED:
                _print(row)
        said = ", ".join(f"{number} {change}" for change, number in counts.items())
        printing.line(said or "no scenario was asked")
    sys.exit(comparison.failed(rows))


def _print(row: comparison.Row) -> None:
    name = " ".join(filter(None, [row.target, *row.requirements, row.title]))
    head = f"{row.change}: {name}: {row.before} -> {row.after}"
    why = "" if row.change is Change.FIXED else row.why.partition("\n")[0]
    printing.entry(head, _STYLES.get(row.change, ""), [("why", why, "")])
