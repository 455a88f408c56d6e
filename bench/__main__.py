"""``python -m bench``: durations of all stages, in one run on one machine, with ratios."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from bench import comparison, files, machine, stages
from bench.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The exit code if a stage failed, so that its figure is not known.
_UNKNOWN = 3
#: The most containers that fit on the lab's node.
_MOST = 40


def _numbers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Read ``1,5,20``."""
    words = text.split(",") if text else []
    if not all(word.isascii() and word.isdecimal() and 0 < int(word) <= _MOST for word in words):
        raise click.BadParameter(f"{text!r}: expected numbers from 1 to {_MOST}, as in 1,5,20")
    return tuple(map(int, words))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cold/--no-cold", default=True, help="Also build images and boot from nothing.")
@click.option(
    "--quick",
    is_flag=True,
    help="Only what takes less than two minutes on a lab that runs and has the faults' snapshots.",
)
@click.option(
    "--peers",
    is_flag=True,
    help="Only compare with pyinfra, ansible-core, testinfra and a shell, which are installed.",
)
@click.option(
    "--files",
    "of_files",
    is_flag=True,
    help="Only lint of a thousand configurations and denials of a gigabyte of log, beside grep. "
    "Needs no lab, and 1.1 GiB below TMPDIR.",
)
@click.option(
    "--containers",
    callback=_numbers,
    metavar="N,N",
    help="Only status, plan and the read-only gate on a node with so many containers: 1,5,20.",
)
@click.option(
    "--times", default=3, show_default=True, help="With --peers and --files: runs for each median."
)
@click.option(
    "--json",
    "file",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE",
    help="Also write the figures to a file, with the machine; also if a stage fails.",
)
def main(
    *,
    cold: bool,
    quick: bool,
    peers: bool,
    of_files: bool,
    containers: Sequence[int],
    times: int,
    file: Path | None,
) -> None:
    """Measure image build, cold up, restore, gate, bare commands, one fault and one status.

    Each figure is printed when it is known. Exit code 0: all were measured; 3: a stage failed.
    """
    if sum(map(bool, (quick, peers, of_files, containers))) > 1:
        raise click.UsageError("--quick, --peers, --files and --containers: give one of them")
    clock, where = Clock(), machine.described()
    try:
        if file is not None:  # now, because the last stage may be an hour away
            clock.write(file, where)
    except OSError as error:
        raise click.UsageError(f"--json: {error}") from error
    try:
        if quick:
            stages.quick(clock)
        elif containers:
            stages.grown(clock, containers)
        elif peers:
            comparison.compare(clock, times=times)
        elif of_files:
            files.measure(clock, times=times)
        else:
            stages.everything(clock, cold=cold)
    finally:
        _print(clock)
        if file is not None:
            clock.write(file, where)
    if clock.failed:
        sys.exit(_UNKNOWN)


def _print(clock: Clock) -> None:
    table = Table("stage", "seconds", box=None)
    table.columns[1].justify = "right"
    for what, seconds in clock.rows:
        table.add_row(what, f"{seconds:.1f}")
    # The shell's node was restored before its clock began, the gate restores its own.
    gate, restore, bare = (
        clock.seconds(each) for each in (stages.GATE, stages.RESTORE, stages.BARE_STAGE)
    )
    if gate and restore and bare:
        clock.counts["ratio gate, without its restore / bare (aim: under 2)"] = round(
            (gate - restore) / bare, 2
        )
    for what, number in clock.counts.items():
        table.add_row(what, f"{number:g}")
    for what in clock.failed:
        table.add_row(what, "failed")
    Console().print(table)


if __name__ == "__main__":
    main()
