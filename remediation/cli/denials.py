"""``python -m remediation denials``."""

from __future__ import annotations

import re
import sys
import time
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from commandline.output import require_reader
from commandline.target_option import aimed, target_options
from facts.audit import audit_files
from facts.denial import denial_log, log_follow, profile_text
from facts.denial import denials as facts_denials
from facts.denial.denial_follow import FollowedNode
from facts.denial.denial_groups import Tally
from remediation.cli import denial_report, options, printing
from remediation.cli.opened import opened
from targets.errors import FactError

if TYPE_CHECKING:
    from facts.audit.audit_records import Denial
    from facts.denial.log_follow import Followed
    from facts.denial.profile_text import Policy
    from targets.target import Target

_AGO = re.compile(r"([0-9]{1,6}) ?(s|min|h|d|w)")
#: What a node's logs are called.
LOGS = {"auditd": "auditd's log", "kernel": "the kernel's log"}
_NOTHING = """\
say what is to be read:
  python -m remediation denials -                        # what you paste; end it by Ctrl-D
  python -m remediation denials audit.log                # a file, or auditd's directory
  python -m remediation denials --target root@pve1/950   # the log of a node"""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604_800}


def _since(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the Unix time that is meant."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return max(0.0, time.time() - int(ago[1]) * _SECONDS[ago[2]])
    try:
        said = datetime.fromisoformat(text)
        return max(0.0, (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp())
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
@click.option(
    "--follow",
    is_flag=True,
    help="Go on with what comes from now on, and with --since also what came since then. Ctrl-C "
    "ends it.",
)
@click.option("--suggest", is_flag=True, help="Print the rules alone, to be put into a profile.")
@options.form
@target_options(": the node whose log is read")
def denials(
    log: str | None,
    *,
    since: float | None,
    profiles: tuple[Path, ...],
    follow: bool,
    suggest: bool,
    form: str,
    where: str | None,
    file: Path | None,
) -> None:
    """Explain what AppArmor denied, and what would allow it.

    Shows what was tried and by whom, how often, the smallest rule that would allow it, and whether
    that rule is dangerous.

    LOG is a file, auditd's directory, or - for standard input: lines of auditd, of the kernel's log
    or of the journal, also compressed by gzip. With --target instead, the log of that node is read,
    wherever the node keeps it. Changes nothing.

    Exit code 0: read to the end, or followed until Ctrl-C, whatever was denied; 3: it could not be
    read to its end; 130: Ctrl-C came before.
    """
    asked = where is not None or file is not None
    if asked and log is not None:
        raise click.UsageError(f"two logs are named, {log!r} and a target's: leave one out")
    if not asked and log is None:
        raise click.UsageError(_NOTHING)
    if follow and suggest:
        raise click.UsageError("--suggest is of all denials together: leave out --follow")
    policies = [_policy(path) for path in profiles]
    if follow:
        _follow(log, None if log else aimed(where, file), since, policies, as_json=form == "json")
        return
    if log is not None:
        name, (tally, doubt) = _called(log), _read(log, since)
    else:
        name, tally, doubt = _asked(aimed(where, file), since)
    report = denial_report.Report(name, tally, policies, whole=doubt is None)
    if suggest:
        denial_report.suggest(report)
    elif form == "json":
        denial_report.as_json(report, incomplete=str(doubt) if doubt else None)
    else:
        denial_report.text(report)
    if log == "-" and not tally.kinds():
        printing.tell(
            'a denial is a whole line with apparmor="DENIED", in straight quotes, unescaped'
        )
    if doubt:
        raise doubt


def _called(log: str) -> str:
    return "standard input" if log == "-" else log


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
            with audit_files.read_errors(_called(log)):
                tally.count(audit_files.lines(audit_files.decompressed(_standard_input())))
        else:
            for path in audit_files.files(Path(log)):
                with audit_files.opened(path) as stream:
                    tally.count(audit_files.lines(stream))
    except FactError as error:
        return tally, error
    return tally, None


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise FactError("standard input is closed, and - means that it is read")
    if sys.stdin.isatty():
        printing.tell("paste the lines here, and end them by Enter and Ctrl-D")
    return sys.stdin.buffer


def _asked(aim: Target, since: float | None) -> tuple[str, Tally, FactError | None]:
    """Count the denials of a node, wherever they are; also return what they were read from."""
    with opened(aim) as runtime:
        found = denial_log.read(runtime.node, since)
        machine = runtime.node.machine
    tally = Tally(found.owner, since, by_process=True)
    tally.count(found.lines)
    if found.note:
        printing.line(found.note, "yellow", to=printing.err)
    name = LOGS[found.source]
    doubt = FactError(f"{name} on {machine}: {found.unread}") if found.unread else None
    return f"{name} on {machine}", tally, doubt


def _follow(
    log: str | None,
    aim: Target | None,
    since: float | None,
    policies: list[Policy],
    *,
    as_json: bool,
) -> None:
    """Print denials as they come, of a log or of a node.

    Raises:
        FactError: some of them may not have been read.
    """
    with ExitStack() as stack:
        followed: Followed
        if aim is not None:
            node = stack.enter_context(opened(aim)).node
            followed = FollowedNode(node, since, printing.tell)
            name = f"{LOGS[followed.source]} on {node.machine}"
            tally = Tally(followed.owner, since, by_process=True)
        else:
            name, tally = _called(str(log)), Tally(_owner, since)
            followed = (
                log_follow.Piped(_standard_input().fileno())
                if log == "-"
                else log_follow.File(Path(str(log)), whole=since is not None)
            )
        stack.enter_context(closing(followed))
        printing.tell(f"following {name}; Ctrl-C ends it")
        _shown_as_it_comes(denial_report.Report(name, tally, policies), followed, as_json=as_json)
        if followed.doubt:
            raise FactError(f"{name}: {followed.doubt}")


def _shown_as_it_comes(report: denial_report.Report, log: Followed, *, as_json: bool) -> None:
    """Print denials until the log ends, Ctrl-C is pressed, or nobody reads what is printed.

    Raises:
        FactError: the log cannot be read any more; what was counted is printed.
        KeyboardInterrupt: Ctrl-C was pressed before the log's end was reached for the first time.
        BrokenPipeError: standard output is a pipe that nobody reads any more.
    """
    live = denial_report.Live(report, as_json=as_json)
    caught_up = False
    try:
        while not log.ended:
            report.tally.count(log.news())
            caught_up = True
            live.show()
            if not log.ended:
                log.wait()
                require_reader()
    except KeyboardInterrupt:
        if not caught_up:
            raise  # what the log held before was not read to its end
    finally:
        with suppress(FactError):  # it is the one that is raised already
            report.tally.count(log.rest() if caught_up else ())
        live.end()
