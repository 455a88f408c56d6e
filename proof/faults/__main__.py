"""``python -m proof.faults``: break a healthy target, run the gate, and compare."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from docker_lxc_gate.commandline import exit_codes, output
from docker_lxc_gate.commandline.json_output import print_json
from docker_lxc_gate.commandline.output import Console, error_text
from docker_lxc_gate.commandline.target_option import target_options
from docker_lxc_gate.errors import RemediationError, UsageError
from docker_lxc_gate.lab import progress
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.target import DEFAULT, parse
from docker_lxc_gate.masking import mask
from docker_lxc_gate.verdict.claim import not_own
from proof.faults import catalogue, matrix, real, states
from proof.faults.catalogue import chosen, sample
from proof.faults.chain import Chain, ordered
from proof.faults.fault import RED, UNDETERMINED, Fault

if TYPE_CHECKING:
    from proof.faults.run import Result

_REPORTS = Path(__file__).parents[2] / "reports"
_err = Console(stderr=True, highlight=False)


class _Command(exit_codes.ProgramCommand):
    """Prints an error in one line; for a usage error, click prints the usage, too."""

    @override
    def say(self, what: RemediationError | str) -> None:
        if isinstance(what, UsageError):
            raise click.UsageError(error_text(what)) from what
        _err.print(Text(f"error: {error_text(what)}", style="red"), soft_wrap=True)


@click.command(cls=_Command, context_settings=exit_codes.SETTINGS)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@target_options(
    ". On all but the lab, only faults that can be rolled back are run, in a container that is "
    f"created for them.  [default: {DEFAULT}]"
)
@click.option("--allow-mutation", is_flag=True, help="Required on all targets but the lab.")
@click.option("--sample", "few", is_flag=True, help="A few of the faults, as in CI.")
@click.option(
    "--part",
    metavar="N/M",
    help="The N-th of M parts, for labs side by side (docker-lxc-gate lab copy).",
)
@click.option(
    "--prepare", is_flag=True, help="Make the snapshots that they start from, and run none."
)
@click.option("--all", "everything", is_flag=True, help="Run all scenarios after each fault.")
@click.option("--list", "listed", is_flag=True, help="List the faults, and do nothing else.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the kill matrix, or the list, as JSON."
)
def main(
    ids: Sequence[str],
    where: str | None,
    file: Path | None,
    *,
    allow_mutation: bool,
    few: bool,
    part: str | None,
    prepare: bool,
    everything: bool,
    listed: bool,
    as_json: bool,
) -> None:
    """Break a healthy target on purpose, run the gate, and compare.

    ID is a fault (F15) or a pattern ('F3*'). Without one, all faults are run. Exit code 0: each
    fault turned red the scenarios that it names and no other. 1: one did not. 3: one could not be
    run.
    """
    faults, asked = chosen(ids), target_file.find(where, file)

    if listed:
        _show(_selected(faults, part, few=few), as_json=as_json)
        return
    on_lab = asked == parse(DEFAULT)
    if not on_lab:
        faults = real.require_safe(faults, named=bool(ids), may_change=allow_mutation)
    wanted = _selected(faults, part, few=few)
    if prepare:
        if not on_lab:
            raise UsageError("--prepare is for the lab: other targets have no snapshots")
        states.prepare(_lab(), faults=wanted)
        return
    if why := not_own(_REPORTS):
        raise UsageError(f"results cannot be written to {_REPORTS}: {why}: move it")
    found = (
        _on_lab(wanted, everything=everything)
        if on_lab
        else real.on_target(wanted, asked, _tell, everything=everything)
    )
    results: list[Result] = []
    for result in found:
        results.append(result)
        matrix.write(results, _REPORTS, part)  # after each fault, in case a long run is interrupted
        _tell(f"{result.fault.id}: {'as expected' if result.held else 'NOT AS EXPECTED'}")
        if result.restored:
            _tell(f"{result.fault.id}: the lab's snapshot is restored: {result.restored}")
    if as_json:
        print(matrix.as_json(results))
    else:
        Console(highlight=False).print(matrix.as_table(results))
    lacking = len(results) < len(wanted) or any(result.unasked for result in results)
    sys.exit(1 if any(result.problems for result in results) else 3 if lacking else 0)


def _selected(faults: Sequence[Fault], part: str | None, *, few: bool) -> Sequence[Fault]:
    wanted = sample(faults) if few else faults
    wanted = catalogue.part(wanted, part) if part else wanted
    if not wanted:
        raise UsageError("--sample or --part leaves none of these faults")
    return wanted


def _on_lab(faults: Sequence[Fault], *, everything: bool) -> Iterator[Result]:
    lab = _lab()
    states.prepare(lab, faults=faults)
    with Chain(lab, everything=everything) as chain:
        for fault in ordered(faults):
            _tell(f"{fault.id}: {fault.title}")
            yield chain.run(fault)


def _lab() -> Lab:
    return Lab.open(steps=progress.on(_err)).up()


def _tell(line: str) -> None:
    _err.print(Text(f"… {mask(line)}", style="dim"), soft_wrap=True)


def _show(faults: Iterable[Fault], *, as_json: bool) -> None:
    """Print which faults there are, what each must cause, and which may run on a real target."""
    if as_json:
        print_json(
            [
                {
                    "id": fault.id,
                    "title": fault.title,
                    "not_compliant": matrix.titles(fault.expected(RED)),
                    "undetermined": matrix.titles(fault.expected(UNDETERMINED)),
                    "on_real_target": fault.safe,
                }
                for fault in faults
            ]
        )
        return
    table = Table(box=None, pad_edge=False)
    for column in ("fault", "what is broken", "not compliant", "undetermined"):
        table.add_column(column, overflow="fold", no_wrap=column == "fault")
    table.add_column("on a real target", max_width=len("on a real"))
    for fault in faults:
        expected = ("\n".join(matrix.titles(fault.expected(v))) for v in (RED, UNDETERMINED))
        may = "yes" if fault.safe else ""
        table.add_row(fault.id, Text(fault.title), *map(Text, expected), may)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    output.run(main, "python -m proof.faults")
