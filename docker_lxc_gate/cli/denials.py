"""``docker-lxc-gate denials``."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from docker_lxc_gate import patterns
from docker_lxc_gate.cli import denial_report, options, printing
from docker_lxc_gate.cli.options import opened
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import with_form
from docker_lxc_gate.commandline.target_option import aimed, target_options
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_files
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.facts.denial.denial_log import owner_by_name

if TYPE_CHECKING:
    from docker_lxc_gate.machines.target import Target

_AGO = patterns.compile(r"([0-9]{1,6}) ?(s|min|h|d|w)")
#: What a node's logs are called.
_LOGS = {"auditd": "auditd's log", "kernel": "the kernel's log"}
_NOTHING = """\
say what is to be read:
  docker-lxc-gate denials -                        # what you paste; end it by Ctrl-D
  journalctl -k | docker-lxc-gate denials -        # the kernel's log
  docker-lxc-gate denials audit.log                # a file, or auditd's directory
  docker-lxc-gate denials --target root@pve1/950   # the log of a node"""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604_800}


def _since(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the Unix time that is meant."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return max(0.0, time.time() - int(ago[1]) * _SECONDS[ago[2]])
    try:
        when = datetime.fromisoformat(text)
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; write 2h, 30min or 3d (ago), or 2026-11-26 or "
            "'2026-11-26 21:00' (UTC)"
        ) from None


@click.command(cls=Verb)
@click.argument("log", required=False, metavar="[LOG]")
@click.option(
    "--since",
    callback=_since,
    metavar="WHEN",
    help="Leave out what is older: 2h, 30min, 3d; or a time like '2026-11-26 21:00' (UTC).",
)
@click.option("--suggest", is_flag=True, help="Print the rules alone, to be put into a profile.")
@click.option(
    "--fail-on-denial", "fails", is_flag=True, help="For CI: end with 1 if a denial was found."
)
@with_form()
@target_options(": the node whose log is read")
def denials(
    log: str | None,
    *,
    since: float | None,
    suggest: bool,
    fails: bool,
    form: str,
    where: str | None,
    file: Path | None,
) -> None:
    """Explain what AppArmor denied, and what would allow it.

    Shows what was tried and by whom, how often, the smallest rule that would allow it, and whether
    that rule is dangerous.

    LOG is a file, auditd's directory, or - for standard input: lines of auditd, of the kernel's log
    or of the journal, also as JSON, also compressed by gzip. With --target instead, the log of that
    node is read, wherever the node keeps it. Changes nothing.

    Exit code 0: read to the end, whatever was denied; 1: a denial was found, with --fail-on-denial;
    3: it could not be read to its end, or a line that may hold a denial could not be read; 130:
    Ctrl-C came before.
    """
    asked = where is not None or file is not None
    if asked and log is not None:
        raise click.UsageError(f"two logs are named, {log!r} and a target's: leave one out")
    if not asked and log is None:
        raise click.UsageError(_NOTHING)
    if log is not None:
        tally = Tally(lambda denial, _: owner_by_name(denial), since)
        report = denial_report.Report(denial_report.PASTED if log == "-" else log, tally)
        doubt = _read(log, tally)
    else:
        name, tally, doubt = _asked(aimed(where, file), since)
        report = denial_report.Report(name, tally)
    doubt = doubt or _unread(report)
    printed = denial_report.as_json if form == "json" else denial_report.text
    printed = denial_report.suggest if suggest else printed
    printed(replace(report, doubt=doubt))
    if fails and tally.kinds():
        if doubt:
            printing.error(doubt)
        sys.exit(1)
    if doubt:
        raise doubt


def _unread(report: denial_report.Report) -> FactError | None:
    """Return the error that lines could not be read, if there were any."""
    records = sum(group.count for group in report.tally.kinds() if not group.readable)
    if not (count := report.tally.unreadable + records):
        return None
    lines = "a line" if count == 1 else f"{count} lines"
    return FactError(f"{report.source}: {lines} may hold a denial, and could not be read")


def _read(log: str, tally: Tally) -> FactError | None:
    """Count the denials of a log; return why it was not read to its end, if it was not."""
    try:
        if log == "-":
            with audit_files.read_errors(denial_report.PASTED):
                stream: Any = options.standard_input()
                stream = getattr(stream, "raw", stream)  # its buffer is small, and would be slow
                tally.count(audit_files.lines(audit_files.decompressed(stream)))
        else:
            for path in audit_files.files(Path(log)):
                with audit_files.opened(path) as opened_log:
                    tally.count(audit_files.lines(opened_log))
    except FactError as error:
        return error
    return None


def _asked(aim: Target, since: float | None) -> tuple[str, Tally, FactError | None]:
    """Count the denials of a node, wherever they are; also return what they were read from."""
    with opened(aim) as runtime:
        log = denial_log.read(runtime.node, since)
        machine = runtime.node.machine
    tally = Tally(log.owner, since)
    tally.count(log.lines)
    if log.note:
        printing.line(log.note, "yellow", to=printing.err)
    name = _LOGS[log.source]
    doubt = FactError(f"{name} on {machine}: {log.unread}") if log.unread else None
    return f"{name} on {machine}", tally, doubt
