"""The output of a run: each scenario with its verdict, a table, the causes, and one word."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from docker_lxc_gate.commandline.output import Console
from docker_lxc_gate.printable import counted, indented, listed, one_line, without_commands
from docker_lxc_gate.verdict.evidence import shortened
from docker_lxc_gate.verdict.record import DIFFERS, HOLDS, UNKNOWN, USAGE, Outcome, Run

if TYPE_CHECKING:
    import pytest

_STYLES = {"compliant": "green", "not compliant": "bold red"}
#: The least and the greatest width of a table (columns).
_NARROW, _WIDE = 80, 120
#: The limit for a printed cause (characters from either end); the report has all of it.
_CAUSE = 1000
_EVIDENCE = 160
#: So many targets are named with a cause that they share.
_NAMED = 3


def width() -> int:
    """Return the number of columns to use."""
    return max(_NARROW, min(_WIDE, shutil.get_terminal_size((100, 24)).columns))


class Screen:
    """Prints through pytest's own terminal writer, with colours where pytest has them."""

    def __init__(self, config: pytest.Config, *, quiet: bool) -> None:
        #: None in a worker of xdist, which judges nothing.
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._feature = ""
        self.several = False
        self._ended = False
        self._told: list[str] = []
        self.detailed = config.option.verbose > 0
        if quiet:
            writer = config.get_terminal_writer()
            write = writer.write  # through it goes all that pytest and its plugins print
            writer.write = lambda msg, **how: write(without_commands(msg), **how)  # type: ignore[method-assign]
            config.option.verbose = -2  # no header and no counts of pytest's
            if config.option.tbstyle == "auto":
                config.option.tbstyle = "short"

    def begin(self, outcome: Outcome) -> None:
        """Print the title of the running scenario.

        The first scenario sets up the shared fixtures, so its title is printed at its end. The same
        holds for all scenarios after a shared cause, because they may need no line of their own.
        """
        if not self._ended or self._told:
            return
        self._reporter.write(self._named(outcome), flush=True)
        self._reporter.currentfspath = -2  # pytest's mark for an unfinished line

    def end(self, outcome: Outcome) -> None:
        """Print a scenario's verdict and duration; a shared cause is printed once."""
        self._ended = True
        if not self.detailed:  # -rA lists them; of a fleet they take most memory
            for passed in ("", "passed"):
                self._reporter.stats.pop(passed, None)
        begun = self._reporter.currentfspath is not None
        if not begun and self._tell(outcome):
            return
        if not begun:  # or other output came in between
            self._reporter.write(self._named(outcome))
        self._reporter.currentfspath = None
        colour = {"compliant": "green", "not compliant": "red"}.get(outcome.word, "yellow")
        self._reporter.write(f" {outcome.word:<13}", **{colour: True})
        self._reporter.write(f"{outcome.seconds:7.1f} s\n", flush=True)
        self._tell(outcome, below=True)

    def _tell(self, outcome: Outcome, *, below: bool = False) -> bool:
        """Print a shared cause, below the line or alone; return whether the cause is shared."""
        if not outcome.shared or outcome.code != UNKNOWN:
            return False
        if outcome.cause not in self._told:
            self._told.append(outcome.cause)
            cause = Text(indented(shortened(outcome.cause, _CAUSE)), style="yellow")
            self._print(Padding(cause, (0, 0, 0, 4) if below else (1, 0, 0, 0)))
        return True

    def _named(self, outcome: Outcome) -> str:
        """Return the start of a scenario's line; print its feature's name before the first one."""
        feature = f"{outcome.target}: {outcome.feature}" if self.several else outcome.feature
        if feature != self._feature:
            self._feature = feature
            self.line("")
            self.line(self._feature, bold=True)
        room = width() - 26
        return f"  {_cut(outcome.title, room):<{room}}"

    def line(self, text: str, **markup: bool) -> None:
        """Print one line."""
        if self._reporter is not None:
            self._reporter.write_line(one_line(text), **markup)

    def nothing(self, word: str) -> None:
        """Print the verdict of a run without a scenario."""
        self.line("")
        self.line(f"{word}: no scenario was run: nothing was judged", bold=True)

    def conclude(self, run: Run) -> None:
        """Print the table, the causes, what was not asked, and the verdict of the run."""
        outcomes, code = run.asked, run.code
        if code == USAGE:
            cause = next(outcome.cause for outcome in outcomes if outcome.code == USAGE)
            self._print(Padding(Text(f"usage: {indented(cause)}", style="red"), (1, 0, 0, 0)))
            return
        causes = run.causes
        untold = (outcome for outcome in outcomes if outcome.cause not in self._told)
        # One that was not started, for a cause that it shares with others, needs no row.
        if self.several:  # of a fleet the table of all scenarios would be pages long
            self._print(_targets(run))
        elif rows := [e for e in untold if e.began or len(causes[e.cause]) == 1]:
            self._print(_table(rows, causes))
        for cause, sharing in causes.items():
            if self._told == [cause]:
                many = counted(len(sharing), "scenario")
                self.line(f"{many} undetermined: see above", bold=True)
                self.line("")
                continue
            targets = [*dict.fromkeys(outcome.target for outcome in sharing)]
            on = f"{listed(targets, _NAMED)}: " if self.several else ""
            self._print(Text(on + _heading(sharing), style="bold"))
            self._print(Padding(Text(shortened(cause, _CAUSE)), (0, 0, 1, 2)))
        if run.left_out:
            self.line(f"asked: {run.scope}; not asked:")
            left_out = "\n".join(f"{which}: {why}" for why, which in run.left_out)
            self._print(Padding(Text(left_out), (0, 0, 1, 2)))
        for remark in run.remarks:
            self.line(remark, yellow=True)
        if not outcomes and not run.problems:
            self.nothing(run.verdict)
            return
        colour = {HOLDS: "green", DIFFERS: "red"}.get(code, "yellow")
        counts = f" ({run.counts})" if outcomes else ""
        self.line(f"verdict: {run.verdict}{counts}", **{"bold": True, colour: True})

    def _print(self, what: Table | Text | Padding) -> None:
        coloured = self._reporter.hasmarkup
        console = Console(
            width=width(),
            force_terminal=coloured,
            no_color=not coloured,
            highlight=False,
        )
        with console.capture() as captured:
            console.print(what)
        lines = (line.rstrip() for line in captured.get().splitlines())
        self._reporter.write("\n".join(lines) + "\n")


def _heading(sharing: list[Outcome]) -> str:
    one = sharing[0]
    if len(sharing) > 1:
        return f"{len(sharing)} scenarios {'' if one.ended else 'have '}{one.verdict}:"
    place = f" ({one.where})" if one.where else ""
    return f"{one.title}: {one.verdict}{place}" + (f"\n  {one.step}" if one.step else "")


def _targets(run: Run) -> Padding:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    for name in ("target", "verdict", "clauses that are not compliant"):
        table.add_column(name, overflow="fold")
    for target, verdict, clauses in run.by_target:
        table.add_row(Text(target), Text(verdict, style=_STYLES.get(verdict, "yellow")), clauses)
    return Padding(table, (1, 0, 1, 0))


def _table(outcomes: list[Outcome], causes: dict[str, list[Outcome]]) -> Padding:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    table.add_column("clause", no_wrap=True)
    table.add_column("scenario", ratio=4, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("evidence", ratio=5, overflow="fold")
    for outcome in outcomes:
        table.add_row(
            "\n".join(outcome.requirements),
            Text(outcome.title),
            Text(outcome.word.replace(" (", "\n("), style=_STYLES.get(outcome.word, "yellow")),
            Text(_evidence(outcome, causes)),
        )
    return Padding(table, (0, 0, 1, 0))


def _evidence(outcome: Outcome, causes: dict[str, list[Outcome]]) -> str:
    """Return one line: the evidence, or the cause; a shared cause is printed once, below."""
    if outcome.code == HOLDS:
        text = "; ".join(outcome.said)
    elif outcome.waiver and outcome.is_waived:
        text = f"{outcome.cause.partition(chr(10))[0]}; waived {outcome.waiver.terms}"
    elif len(causes[outcome.cause]) > 1:
        return "see below"
    else:
        text = next(iter(outcome.cause.splitlines()), "")
    return _cut(text, _EVIDENCE)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
