"""The kill matrix: scenarios by faults, as JSON, as a page, and as a table for a terminal."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from commandline.json_output import json_text, shown
from faults.catalogue import FAULTS
from faults.run import COMPLIANT, RED, UNDETERMINED
from faults.scenarios import scenarios

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from faults.run import Result

#: The content of a cell without a verdict.
NOT_ASKED = "not asked"
_SIGNS = {RED: "✗", UNDETERMINED: "?", COMPLIANT: "·", NOT_ASKED: ""}
_STYLE = """
body { font: 13px/1.35 system-ui, sans-serif; margin: 1.5em }
table { border-collapse: collapse } td, th { border: 1px solid #ddd; padding: 1px 4px }
th.fault { writing-mode: vertical-rl; font-weight: normal; text-align: left }
td { text-align: center } td:first-child { text-align: left; white-space: nowrap }
td:first-child, th:first-child { position: sticky; left: 0; background: #fff }
.red { background: #f4b6b6 } .undetermined { background: #f7e3a1 }
.wrong { outline: 3px solid #b00; outline-offset: -3px } .survives { font-weight: bold }
"""
_LEGEND = (
    "✗ not compliant, ? undetermined, · compliant, empty: not asked; framed: not as expected. "
    "A scenario in bold was killed by none of these faults."
)


def cell(result: Result, title: str) -> str:
    """Return a scenario's verdict after a fault, or :data:`NOT_ASKED`."""
    return result.found[title].verdict if title in result.found else NOT_ASKED


def killed(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return, for each title, the ids of the faults that gave the scenario the expected verdict."""
    return {
        title: [r.id for r in results if title in r.kills and _killed(r, title)]
        for title in scenarios()
    }


def _killed(result: Result, title: str) -> bool:
    """Whether a scenario has the expected verdict, and names the expected cause."""
    return result.expected[title] == cell(result, title) and not result.wrong(title)


def as_json(results: Sequence[Result]) -> str:
    """Return the matrix for programs."""
    by = killed(results)
    faults: list[dict[str, Any]] = [
        {
            "id": r.id,
            "title": r.title,
            "held": r.held,
            "unasked": r.unasked,
            "seconds": round(r.seconds, 1),
            "expected": dict(r.expected),
            "cells": {title: cell(r, title) for title in scenarios()},
            "causes": {t: f.cause for t, f in r.found.items() if f.cause},
            "problems": [str(each) for each in r.problems],
        }
        for r in results
    ]
    document = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "ran": [r.id for r in results],
        "not_run": _not_run(results),
        "faults": faults,
        "killed": by,
        "survived": [title for title, ids in by.items() if not ids],
    }
    return json_text(document)


def _not_run(results: Sequence[Result]) -> list[str]:
    ran = {r.id for r in results}
    return [fault.id for fault in FAULTS if fault.id not in ran]


def as_html(results: Sequence[Result]) -> str:
    """Return the matrix as one page, for a browser and for Allure."""
    by = killed(results)
    head = "".join(
        f'<th class="fault" title="{_escaped(r.title)}">{_escaped(r.id)}</th>' for r in results
    )
    rows = []
    for title in scenarios():
        kind = "" if by[title] else ' class="survives"'
        cells = "".join(_html_cell(r, title) for r in results)
        rows.append(f"<tr><td{kind}>{_escaped(title)}</td>{cells}</tr>")
    table = f"<table><tr><th>scenario</th>{head}</tr>\n" + "\n".join(rows) + "</table>"
    wrong = [f"{r.id}: {each}" for r in results for each in (*r.problems, r.unasked) if str(each)]
    listed = "".join(f"<li>{_escaped(each)}</li>" for each in wrong)
    return (
        f'<!doctype html><meta charset="utf-8"><title>Kill matrix</title><style>{_STYLE}</style>'
        f"<h1>Kill matrix</h1><p>{_escaped(_ran(results))} {_escaped(_LEGEND)}</p>"
        f"{table}<ul>{listed}</ul>\n"
    )


def _ran(results: Sequence[Result]) -> str:
    """Return how many faults ran, when, and for how long; empty for a single fault."""
    if len(results) == 1:
        return ""
    seconds = sum(r.seconds for r in results)
    left = len(_not_run(results))
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{len(results)} faults in {seconds / 60:.0f} min, {at}"
        + (f"; {left} of the catalogue were not run" if left else ", the whole catalogue")
        + "."
    )


def _html_cell(result: Result, title: str) -> str:
    is_ = cell(result, title)
    kinds = {RED: ["red"], UNDETERMINED: ["undetermined"]}.get(is_, [])
    if result.wrong(title):
        kinds = [*kinds, "wrong"]
    cause = result.found[title].cause if title in result.found else ""
    where = f"{result.id}: {cause or is_}"
    return f'<td class="{" ".join(kinds)}" title="{_escaped(where)}">{_SIGNS[is_]}</td>'


def _escaped(text: str) -> str:
    return html.escape(shown(text))


def as_table(results: Sequence[Result]) -> Table:
    """Return a table with one row a fault: expected verdicts, actual verdicts, duration."""
    table = Table(box=None, pad_edge=False)
    for column in ("fault", "what is broken", "expected", "came", "time"):
        table.add_column(column, overflow="fold", no_wrap=column in {"fault", "time"})
    for r in results:
        should = list(r.expected.values())
        came = [f.verdict for f in r.found.values() if f.verdict != COMPLIANT]
        said = Text(shown(r.unasked) or _counted(came))
        if not r.held:
            said = Text(
                "\n".join((said.plain, *(shown(str(each)) for each in r.problems))),
                style="yellow" if r.unasked else "red",
            )
        table.add_row(r.id, Text(r.title), _counted(should), said, f"{r.seconds:.1f} s")
    return table


def _counted(verdicts: Sequence[str]) -> str:
    parts = [f"{verdicts.count(word)} {word}" for word in (RED, UNDETERMINED) if word in verdicts]
    return ", ".join(parts) or COMPLIANT


def write(results: Sequence[Result], folder: Path, part: str | None = None) -> None:
    """Write the matrix to ``kill-matrix.json`` and ``kill-matrix.html``.

    Args:
        results: one for each fault.
        folder: where; made if it is missing.
        part: ``1/2``: to ``kill-matrix-1-of-2.…``, beside the other part's.
    """
    folder.mkdir(exist_ok=True)
    name = "kill-matrix" + (f"-{part.replace('/', '-of-')}" if part else "")
    (folder / f"{name}.json").write_text(f"{as_json(results)}\n", "utf-8")
    (folder / f"{name}.html").write_text(as_html(results), "utf-8")
