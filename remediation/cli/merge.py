"""``docker-lxc-gate merge``."""

from __future__ import annotations

import click

from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.output import SCREEN
from remediation.cli.gate import report_options, run


@click.command(cls=Verb)
@click.argument("shards", metavar="DIR...", nargs=-1, required=True)
@click.option("--output", metavar="DIR", help="Folder for the results.  [default: ./reports]")
@report_options
def merge(shards: tuple[str, ...], output: str | None, **given: bool | tuple[str, ...]) -> None:
    """Make one run of its shards, which gate --shard judged.

    DIR is the folder that a shard wrote, or the verdict.json in it. Record, reports and output are
    those of one run of all targets. A shard that is missing, and a target that no shard has, are
    undetermined. The evidence is copied.

    Exit code: that of the gate; 2 also: two shards have one number, or are of different runs.
    """
    others = [f"--alluredir={output}", f"--junit-xml={output}/junit.xml"] if output else []
    given["no_report"] = bool(given["no_report"] or output)
    run([*others, *["--color=no"] * SCREEN.no_color], {"merge": shards, **given})
