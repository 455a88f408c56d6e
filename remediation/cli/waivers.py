"""``docker-lxc-gate waivers``."""

from __future__ import annotations

from pathlib import Path

import click

from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.verdict import comparison
from docker_lxc_gate.verdict import waivers as file_of_waivers


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
    click.echo(file_of_waivers.first_file(comparison.read(record)), nl=False)
