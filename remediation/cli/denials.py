"""``python -m remediation denials``."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facts import audit_files, profile_text
from facts import denials as facts_denials
from facts.denial_groups import Tally
from remediation.cli import denial_report, printing
from targets.errors import FactError

if TYPE_CHECKING:
    from facts.audit_records import Denial
    from facts.profile_text import Policy

_AGO = re.compile(r"([0-9]{1,6}) ?(s|min|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604_800}


def _since(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the Unix time that is meant."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        said = datetime.fromisoformat(text)
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; write 2h, 30min or 3d (ago), or 2026-11-26 or "
            "'2026-11-26 21:00' (UTC)"
        ) from None


@click.command()
@click.argument("log", required=False, metavar="[LOG]")
@click.option(
    "--since",
    callback=_since,
    metavar="WHEN",
    help="Leave out what is older: 2h, 30min, 3d; or a time like '2026-11-26 21:00' (UTC).",
)
@click.option(
    "--profile",
    "profiles",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    metavar="FILE",
    help="A profile's file: say which of its deny rules forbid it, whatever is added. May be "
    "repeated.",
)
@click.option("--suggest", is_flag=True, help="Print the rules alone, to be put into a profile.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="What to print.  [default: text]",
)
def denials(
    log: str | None, since: float | None, profiles: tuple[Path, ...], suggest: bool, form: str
) -> None:
    """Explain what AppArmor denied: what was tried, how often, and the smallest rule for it.

    LOG is a file, auditd's directory, or - for standard input: lines of auditd, of the kernel's log
    or of the journal, also compressed by gzip. Changes nothing.

    Exit code 0: read to the end, whatever was denied; 3: it could not be read to its end.
    """
    if log is None:
        raise click.UsageError("say what is to be read: a file, a directory, or -")
    policies = [_policy(path) for path in profiles]
    tally, doubt = _read(log, since)
    report = denial_report.Report(log, tally, policies)
    if suggest:
        denial_report.suggest(report)
    elif form == "json":
        denial_report.as_json(report, incomplete=str(doubt) if doubt else None)
    else:
        denial_report.text(report)
    if doubt:
        raise doubt


def _policy(path: Path) -> Policy:
    policy = profile_text.read(path, [Path(profile_text.SYSTEM)])
    for name in dict.fromkeys(policy.missing):
        printing.line(
            f"{path} includes {name}, which was not found here: whether it denies anything is not "
            "known",
            "yellow",
            to=printing.err,
        )
    return policy


def _owner(denial: Denial, at: float | None) -> facts_denials.Owner | None:
    del at
    return facts_denials.owner_by_name(denial)


def _read(log: str, since: float | None) -> tuple[Tally, FactError | None]:
    """Count the denials of a log; also return why it was not read to its end, if it was not."""
    tally = Tally(_owner, since)
    try:
        if log == "-":
            with audit_files.readable("standard input"):
                tally.count(audit_files.lines(audit_files.plain(sys.stdin.buffer)))
        else:
            for path in audit_files.files(Path(log)):
                with audit_files.opened(path) as stream:
                    tally.count(audit_files.lines(stream))
    except FactError as error:
        return tally, error
    return tally, None
