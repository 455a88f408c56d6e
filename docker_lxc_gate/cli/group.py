"""The verbs of ``docker-lxc-gate``, and what their errors look like.

The module of a verb, with all that it needs of SSH and of the plan, is imported when that verb is
called: ``--help`` takes a fifth of the time.
"""

from __future__ import annotations

import importlib

import click
from click.shell_completion import CompletionItem
from typing_extensions import override

from docker_lxc_gate import home
from docker_lxc_gate.commandline import exit_codes
from docker_lxc_gate.errors import RemediationError
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
#: Verbs that know the plan: its state is an answer to Ctrl-C.
_OF_THE_PLAN = {"create", "plan", "apply", "rollback", "status", "guard", "prove", "journal"}


class Verbs(exit_codes.ProgramGroup):
    """Imports a verb when it is called."""

    @override
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

    @override
    def interruption(self, ctx: click.Context) -> str:
        shows = ": docker-lxc-gate status, with the same --target, shows the state"
        return "interrupted" + shows * (ctx.invoked_subcommand in _OF_THE_PLAN)

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


@click.group(cls=Verbs, context_settings=exit_codes.SETTINGS)
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
