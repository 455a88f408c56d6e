"""``docker-lxc-gate waivers``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.printable import one_line
from docker_lxc_gate.verdict import comparison
from docker_lxc_gate.verdict.record import Verdict

if TYPE_CHECKING:
    from docker_lxc_gate.verdict.record import Outcome, Run

#: How long a waiver of a first file holds.
_FIRST = timedelta(days=90)


@click.command(cls=Verb)
@click.option(
    "--from",
    "record",
    required=True,
    metavar="VERDICT.JSON",
    type=click.Path(path_type=Path),
    help="Record of a run.",
)
def waivers(record: Path) -> None:
    """Print a first file of waivers for what is not compliant.

    gate --waivers takes the file once each waiver has a reason and an owner. The gate then still
    asks the scenario, and reports its verdict as waived; docs/verdicts.md has the keys.

    Exit code 0: printed, also if nothing is to be waived; 2: wrong usage, or the file is no record.
    """
    click.echo(_first_file(comparison.read(record)), nl=False)


def _first_file(run: Run) -> str:
    """Return a file of waivers for what is not compliant in a run.

    Its reasons and owners are empty, so the gate refuses it until somebody has filled them in.
    """
    known: dict[tuple[str, str], Outcome] = {}
    for outcome in run.asked:
        if outcome.verdict is Verdict.NOT_COMPLIANT and outcome.id:
            known.setdefault((outcome.id, outcome.target), outcome)
    what = "Write a reason and an owner for each waiver, and delete the others."
    text = f"# {what if known else 'Nothing was not compliant, so there is nothing to waive.'}\n"
    for outcome in known.values():
        text += f"\n# {one_line(f'{outcome.title}: {outcome.cause}')}\n[[waiver]]\n"
        for key, value in (("scenario", outcome.id), ("target", outcome.target)):
            quoted = msgspec.json.encode(value).decode()
            text += f"{key} = {quoted}\n".replace("\x7f", r"\u007F")  # which TOML asks for
        text += f'reason = ""\nowner = ""\nexpires = {run.ended.date() + _FIRST}\n'
    return text
