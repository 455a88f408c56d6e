"""The kill matrix: scenarios by faults, as JSON and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from docker_lxc_gate.commandline.json_output import json_text, shown
from proof.faults.catalogue import FAULTS
from proof.faults.fault import COMPLIANT, RED, UNDETERMINED
from proof.faults.scenarios import scenarios

if TYPE_CHECKING:
    from proof.faults.run import Result

#: The content of a cell without a verdict.
NOT_ASKED = "not asked"


def cell(result: Result, name: str) -> str:
    """Return a scenario's verdict after a fault, or :data:`NOT_ASKED`."""
    return result.found[name].verdict if name in result.found else NOT_ASKED


def killed(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return, for each scenario's id, the faults after which it was as expected."""
    return {
        name: [r.fault.id for r in results if name in r.fault.kills and _killed(r, name)]
        for name in scenarios()
    }


def _killed(result: Result, name: str) -> bool:
    """Whether a scenario has the expected verdict, and names the expected cause."""
    return result.fault.expect[name].verdict == cell(result, name) and not result.wrong(name)


def titles(names: Iterable[str]) -> list[str]:
    """Return the titles of scenarios."""
    return [scenarios()[name].title for name in names]


def as_json(results: Sequence[Result]) -> str:
    """Return the matrix for programs."""
    title = {name: scenario.title for name, scenario in scenarios().items()}
    by = {title[name]: ids for name, ids in killed(results).items()}
    ran = [r.fault.id for r in results]
    document = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "ran": ran,
        "not_run": [fault.id for fault in FAULTS if fault.id not in ran],
        "faults": [
            {
                "id": r.fault.id,
                "title": r.fault.title,
                "held": r.held,
                "unasked": r.unasked,
                "restored": r.restored,
                "seconds": round(r.seconds, 1),
                "expected": {title[n]: wanted.verdict for n, wanted in r.fault.expect.items()},
                "cells": {title[name]: cell(r, name) for name in title},
                "causes": {title[name]: f.cause for name, f in r.found.items() if f.cause},
                "problems": [str(problem) for problem in r.problems],
            }
            for r in results
        ],
        "killed": by,
        "survived": [name for name, ids in by.items() if not ids],
    }
    return json_text(document)


def as_table(results: Sequence[Result]) -> Table:
    """Return a table with one row a fault: expected verdicts, actual verdicts, duration."""
    table = Table(box=None, pad_edge=False)
    for column in ("fault", "what is broken", "expected", "came", "time"):
        table.add_column(column, overflow="fold", no_wrap=column in {"fault", "time"})
    for r in results:
        should = [wanted.verdict for wanted in r.fault.expect.values()]
        came = [f.verdict for f in r.found.values() if f.verdict != COMPLIANT]
        said = Text(shown(r.unasked) or _counted(came))
        if not r.held:
            said = Text(
                "\n".join((said.plain, *(shown(str(problem)) for problem in r.problems))),
                style="yellow" if r.unasked else "red",
            )
        table.add_row(r.fault.id, Text(r.fault.title), _counted(should), said, f"{r.seconds:.1f} s")
    return table


def _counted(verdicts: Sequence[str]) -> str:
    parts = [f"{verdicts.count(word)} {word}" for word in (RED, UNDETERMINED) if word in verdicts]
    return ", ".join(parts) or COMPLIANT


def write(results: Sequence[Result], folder: Path, part: str | None = None) -> None:
    """Write the matrix to ``kill-matrix.json`` in a folder, which is made if it is missing.

    The ``part`` 1/2 goes to ``kill-matrix-1-of-2.json``, next to the other part's.
    """
    folder.mkdir(exist_ok=True)
    name = "kill-matrix" + (f"-{part.replace('/', '-of-')}" if part else "")
    (folder / f"{name}.json").write_text(f"{as_json(results)}\n", "utf-8")
