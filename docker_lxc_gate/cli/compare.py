"""``docker-lxc-gate compare``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from docker_lxc_gate.cli import printing
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.verdict import comparison
from docker_lxc_gate.verdict.comparison import Change


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
    counts, problems = comparison.counted(rows), [*comparison.unknown(old, new, rows)]
    if form == "json":
        print_json({"counts": counts, "problems": problems, "scenarios": rows})
    else:
        for text, style in comparison.lines(old, new):
            printing.line(text, style)
    if any(row.fails for row in rows):
        sys.exit(1)
    sys.exit(3 if problems or Change.INCOMPARABLE in counts else 0)
