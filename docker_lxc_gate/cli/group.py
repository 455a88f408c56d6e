"""The verbs of ``docker-lxc-gate``, and what their errors look like.

The module of a verb, with all that it needs of SSH and of the plan, is imported when that verb is
called: ``--help`` takes a fifth of the time.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem
from typing_extensions import override

from docker_lxc_gate import home
from docker_lxc_gate.commandline.exit_codes import Once, VerbGroup
from docker_lxc_gate.commandline.json_output import print_json_error
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.process import interrupted_by
from docker_lxc_gate.tables import table
from remediation.engine.action import Drift
from remediation.engine.errors import ChangedSince

#: The first sentence of each verb, which its own help repeats.
VERBS = table("docker_lxc_gate.cli", "verbs", dict[str, str])
#: Where a verb is, if not in the module of this folder that is named after it.
_ELSEWHERE = {
    "lab": ("docker_lxc_gate.lab.__main__", "main"),
    "verify": ("docker_lxc_gate.cli.bundle", "verify"),
}
#: What answers Ctrl-C, for verbs that change a state.
_SHOWS = {
    **dict.fromkeys(
        ("create", "plan", "apply", "rollback", "status", "guard", "prove", "journal"),
        ": docker-lxc-gate status, with the same --target, shows the state",
    ),
    "lab": ": docker-lxc-gate lab status shows the state",
}
#: As in a shell: 128 + SIGINT. Click would exit with 1, which is a verdict.
_INTERRUPTED = 130
#: Of an error that leaves changes in place: worse than an interruption.
_LEFT_CHANGED = 5


class Verbs(Once, VerbGroup):
    """Imports a verb when it is called; an error of ours ends it with its message and exit code."""

    def say(self, what: RemediationError | str) -> None:
        """Print the cause of an error, the error, and the differences that it reports."""
        from docker_lxc_gate.cli import printing  # noqa: PLC0415 - as a verb is

        cause = what.__cause__ if isinstance(what, RemediationError) else None
        if isinstance(cause, RemediationError) and str(cause) not in str(what):
            printing.error(cause)
        printing.error(what)
        if isinstance(what, ChangedSince):
            for name, drift in what.changes.items():
                now, left = drift.shown or (drift.is_, drift.should)
                since = Drift(drift.summary, left, now)
                printing.difference(name, since, "the plan left", "is now", to=printing.err)

    def invoke(self, ctx: click.Context) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except RemediationError as error:
            self._end(ctx, error, error.exit_code)
        except KeyboardInterrupt as interrupt:
            if isinstance(failed := interrupt.__context__, RemediationError):  # and then it came
                if failed.exit_code == _LEFT_CHANGED:
                    self._end(ctx, failed, failed.exit_code)
                with suppress(OSError):
                    self.say(failed)
            shows = _SHOWS.get(ctx.invoked_subcommand or "", "")
            self._end(ctx, f"interrupted{shows}", interrupted_by() or _INTERRUPTED)
        except BrokenPipeError as error:  # not of our output: click would exit with 1
            raise RuntimeError("a pipe broke") from error

    def _end(self, ctx: click.Context, why: RemediationError | str, code: int) -> NoReturn:
        with suppress(OSError):  # a terminal that is gone
            self.say(why)
        print_json_error(ctx, why)
        sys.exit(code)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """See click."""
        return list(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """See click."""
        if name not in VERBS:
            return None
        module, attribute = _ELSEWHERE.get(name, (f"docker_lxc_gate.cli.{name}", name))
        verb: click.Command = getattr(importlib.import_module(module), attribute)
        return verb

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Name the verbs without importing any."""
        matching = [verb for verb in VERBS if verb.startswith(incomplete)]
        verbs = [CompletionItem(verb, help=VERBS[verb]) for verb in matching]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"docker-lxc-gate {home.version()}")
        ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and the commit, and exit.",
)
def main() -> None:
    """Judge Docker in an LXC container; apply the plan for it, and roll it back.

    \b
    Examples:
      docker-lxc-gate gate --target root@pve1/950      the verdict, read-only
      docker-lxc-gate plan --target root@pve1/950      what would change
      docker-lxc-gate apply --target root@pve1/950
      docker-lxc-gate rollback --target root@pve1/950
      docker-lxc-gate create --target-file F --target NAME
      docker-lxc-gate lint /etc/pve/lxc                no target
      docker-lxc-gate denials -                        no target: paste
      docker-lxc-gate doctor --target root@pve1/950    what is wrong
      docker-lxc-gate doctor --upgrade --target root@pve1/950
          whether Docker would survive an upgrade

    \b
    Exit codes:
      0    done; status: no drift; plan: always, with or without changes
      1    gate: not compliant; status: drift, or a run was cut off; apply:
           drift was left, and all was rolled back; you answered no; lint:
           an error or a warning; doctor: a problem; denials --fail-on-denial:
           a denial; compare: something broke; verify: not as made or signed
      2    wrong usage
      3    the target could not be reached or read, or is in use; gate:
           undetermined; compare: incomparable
      4    gate: a waiver is expired or no longer needed
      5    not everything was rolled back, or somebody changed it since;
           prove: something differs
      6    gate: a scenario has no result
      129  ended by SIGHUP; 130: by Ctrl-C; 143: by SIGTERM
    """  # noqa: D301 - click's mark for lines that are not to be wrapped
