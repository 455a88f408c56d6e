"""The verbs of ``python -m remediation``, and what their errors look like."""

from __future__ import annotations

import click

from commandline import exit_codes
from remediation.cli import printing
from remediation.cli.apply import apply
from remediation.cli.create import create
from remediation.cli.journal import journal
from remediation.cli.lint import lint
from remediation.cli.plan import plan
from remediation.cli.rehearse import rehearse
from remediation.cli.rollback import rollback
from remediation.cli.status import status
from targets.errors import ChangedSince, RemediationError, RollbackFailed


class Commands(exit_codes.Group):
    """Shows the cause of an error, then the error, then what differs because of it."""

    interrupted = (
        "interrupted; what is left, python -m remediation status says (with this --target)"
    )

    def say(self, what: RemediationError | str) -> None:
        """See :class:`commandline.exit_codes.Group`."""
        if isinstance(what, RemediationError) and isinstance(what.__cause__, RemediationError):
            printing.error(what.__cause__)
        printing.error(what)
        if isinstance(what, ChangedSince):
            for name, drift in what.changes.items():
                printing.difference(name, drift, "the plan left", "is now", to=printing.err)
        if isinstance(what, RollbackFailed):
            for name, drift in what.changes:
                printing.difference(name, drift, "before the plan", "is now", to=printing.err)


@click.group(cls=Commands, context_settings=exit_codes.SETTINGS)
def main() -> None:
    """Show, apply, verify and roll back the plan "Docker in Unprivileged LXC".

    \b
    Examples:
      python -m remediation plan --target root@pve1/950      what would change
      python -m remediation apply --target root@pve1/950
      python -m remediation rollback --target root@pve1/950
      python -m remediation rehearse --target root@pve1/951  there and back
      python -m remediation create --target-file F --target NAME
      python -m remediation lint /etc/pve/lxc                no target

    \b
    Exit codes:
      0    done; status: no drift; plan: shown, whatever it shows
      1    status: drift, or a run that was cut off; apply: drift was left,
           and all was rolled back; you said no, and nothing was changed;
           lint: an error or a warning was found
      2    wrong usage
      3    the target could not be reached or read, or is in use
      5    not everything could be rolled back, or somebody changed it
           since; rehearse: something differs
      130  interrupted (Ctrl-C)
    """  # noqa: D301 - click's mark for lines that are not to be wrapped


for verb in (create, plan, apply, rollback, status, rehearse, journal, lint):
    main.add_command(verb)
