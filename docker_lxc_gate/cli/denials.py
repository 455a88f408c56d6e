"""``docker-lxc-gate denials``."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.cli import denial_report, options, printing
from docker_lxc_gate.cli.options import opened
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import with_form
from docker_lxc_gate.commandline.output import is_dropped
from docker_lxc_gate.commandline.target_option import aimed, target_options
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_files
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.facts.denial.denial_log import owner_by_name
from docker_lxc_gate.machines.process import interrupted_by

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from docker_lxc_gate.machines.target import Target

#: A pipe is taken for one that stays open once nothing came for so long, or once it is read for so
#: long (seconds).
_PAUSE, _LONG = 1.0, 10.0
_AGO = patterns.compile(r"([0-9]{1,6}) ?(s|min|h|d|w)")
#: What a node's logs are called.
_LOGS = {"auditd": "auditd's log", "kernel": "the kernel's log"}
_NOTHING = """\
say what is to be read:
  docker-lxc-gate denials -                        # what you paste; end it by Ctrl-D
  journalctl -kf | docker-lxc-gate denials -       # what is denied from now on
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
    or of the journal, also as JSON, also compressed by gzip. While a pipe stays open, as that of
    journalctl -kf does, each new kind of denial is explained at once; all of them at the end, or at
    Ctrl-C. With --target instead, the log of that node is read, wherever the node keeps it. Changes
    nothing.

    Exit code 0: read to the end, or a pipe until Ctrl-C, whatever was denied; 1: a denial was
    found, with --fail-on-denial; 3: it could not be read to its end, or a line that may hold a
    denial could not be read; 130: Ctrl-C came before.
    """
    asked = where is not None or file is not None
    if asked and log is not None:
        raise click.UsageError(f"two logs are named, {log!r} and a target's: leave one out")
    if not asked and log is None:
        raise click.UsageError(_NOTHING)
    doubt: FactError | KeyboardInterrupt | None
    if log is not None:
        tally = Tally(lambda denial, _: owner_by_name(denial), since)
        report = denial_report.Report(denial_report.PASTED if log == "-" else log, tally)
        in_words = form == "text" and not suggest
        doubt = _read(log, tally, denial_report.News(report).show if in_words else None)
    else:
        name, tally, doubt = _asked(aimed(where, file), since)
        report = denial_report.Report(name, tally)
    doubt = doubt or _unread(report)
    printed = denial_report.suggest if suggest else denial_report.FORMS[form]
    printed(replace(report, doubt=doubt))
    if fails and tally.kinds():
        if doubt:
            printing.error(str(doubt) or "interrupted")
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


def _read(
    log: str, tally: Tally, show: Callable[[], None] | None
) -> FactError | KeyboardInterrupt | None:
    """Count the denials of a log; return why it was not read to its end, if it was not.

    ``show`` prints what is new, of a pipe that stays open; None: nothing is printed. Raises OSError
    if the output cannot be written, and KeyboardInterrupt if Ctrl-C was pressed while what the log
    holds already was read.
    """
    piped, doubt = None, None
    try:
        if log == "-":
            with audit_files.read_errors(denial_report.PASTED):
                stream = options.standard_input()
                piped = _Piped(stream.fileno(), show) if _is_pipe(stream) else None
                tally.count(audit_files.lines(audit_files.decompressed(piped or stream)))
        else:
            for path in audit_files.files(Path(log)):
                with audit_files.opened(path) as opened_log:
                    tally.count(audit_files.lines(opened_log))
    except FactError as error:
        doubt = error
    except KeyboardInterrupt as error:
        if piped is None or not piped.stays_open:
            raise
        return error
    by = piped.ended_by if piped else None
    if isinstance(by, OSError):
        raise by
    return KeyboardInterrupt() if interrupted_by() else doubt


def _is_pipe(stream: BinaryIO) -> bool:
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except io.UnsupportedOperation:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class _Piped(io.RawIOBase):
    """Standard input as a pipe, which may stay open, as ``journalctl -kf`` keeps it.

    Then what is new is shown before each further read: all that came before is counted by then.
    ``show`` prints what is new, if anything is to be printed before the end. ``ended_by`` ended it
    before its end: Ctrl-C while nothing came, or an output that cannot be written.
    """

    def __init__(self, descriptor: int, show: Callable[[], None] | None) -> None:
        self._descriptor, self._show = descriptor, show
        self.stays_open, self._begun = False, time.monotonic()
        self.ended_by: KeyboardInterrupt | OSError | None = None

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            self._wait()
        except (KeyboardInterrupt, OSError) as error:
            if not self.stays_open:
                raise
            self.ended_by = error
        if self.ended_by is not None or is_dropped():
            return 0
        return os.readv(self._descriptor, [buffer])

    def _wait(self) -> None:
        """Wait for something to come; show what is new first if the pipe stays open."""
        if not self.stays_open and (
            not self._comes(_PAUSE) or time.monotonic() > self._begun + _LONG
        ):
            self.stays_open = True
            printing.tell("still reading; Ctrl-C ends it, and prints the report of all")
        if self.stays_open and self.ended_by is None:
            if self._show:
                self._show()
            if not is_dropped():
                self._comes(None)

    def _comes(self, seconds: float | None) -> bool:
        """Return whether something comes in time, or the end does."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def _asked(aim: Target, since: float | None) -> tuple[str, Tally, FactError | None]:
    """Count the denials of a node, wherever they are; also return what they were read from."""
    with opened(aim) as runtime:
        log = denial_log.read(runtime.node, since)
        machine = runtime.node.machine
    tally = Tally(log.owner, since, by_process=True)
    tally.count(log.lines)
    if log.note:
        printing.line(log.note, "yellow", to=printing.err)
    name = _LOGS[log.source]
    doubt = FactError(f"{name} on {machine}: {log.unread}") if log.unread else None
    return f"{name} on {machine}", tally, doubt
