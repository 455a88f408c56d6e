"""``python -m remediation doctor``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from commandline.json_output import print_json
from commandline.target_option import with_named_target
from doctor import upgrade
from doctor.examine import examine
from lint.formats import as_lines, shown
from remediation.cli import options, printing
from remediation.cli.opened import opened

if TYPE_CHECKING:
    from doctor.diagnosis import Diagnosis
    from targets.target import Target

#: More of one thing that a guest says than a reader wants to see (characters).
_LONGEST = 1000


@click.command()
@options.form
@click.option(
    "--upgrade",
    "before_upgrade",
    is_flag=True,
    help="Say whether Docker would still run after apt-get dist-upgrade, on the node and in the "
    "container.",
)
@with_named_target
def doctor(aim: Target, form: str, before_upgrade: bool) -> None:
    """Say what is wrong with Docker in a container, why, and what to do. Changes nothing.

    Needs neither the plan nor anything of this project on the node. The most likely cause comes
    first. What could not be seen is listed, too. docs/doctor.md lists all troubles.

    With --upgrade, asks what apt would install, and compares it with a table of versions that are
    known not to go together. A version that the table does not know is named, and is no trouble.

    Exit code 0: no trouble, or advice only; 1: a trouble is named; 3: the target cannot be asked,
    or no trouble is named and something could not be seen.
    """
    with opened(aim) as runtime:
        machine = runtime.node.machine
        found = upgrade.examine(runtime, aim.ctid) if before_upgrade else examine(runtime, aim.ctid)
    if form == "json":
        print_json(_as_json(aim.ctid, machine, found))
    else:
        nothing = "no breakage known" if before_upgrade else "no trouble named"
        _print(f"container {aim.ctid} on {machine}", found, nothing)
    sys.exit(found.exit_code)


def _print(name: str, found: Diagnosis, nothing: str) -> None:
    named = [each for each in found.troubles if not each.is_advice]
    if not named:
        style = "yellow" if found.unseen else "green"
        printing.line(f"{name}: {nothing}", style)
    for each in found.troubles:
        word, style = ("advice", "yellow") if each.is_advice else ("trouble", "red")
        first, *rest = as_lines(each, word, _LONGEST)
        printing.line(first, style)
        for text in rest:
            printing.line(text)
    by_reason: dict[str, list[str]] = {}
    for unseen in found.unseen:
        by_reason.setdefault(unseen.why, []).append(unseen.what)
    for why, what in by_reason.items():
        printing.line(f"could not see {'; '.join(what)} ({shown(why, _LONGEST)})", "yellow")


def _as_json(ctid: int, machine: str, found: Diagnosis) -> dict[str, Any]:
    return {
        "ctid": ctid,
        "node": machine,
        "troubles": [
            {
                "id": each.id,
                "weight": each.severity.value,
                "cause": shown(each.cause, _LONGEST),
                "why": each.why,
                "mend": shown(each.mend, _LONGEST),
            }
            for each in found.troubles
        ],
        "could_not_see": [
            {"what": each.what, "why": shown(each.why, _LONGEST), "matters": each.matters}
            for each in found.unseen
        ],
    }
