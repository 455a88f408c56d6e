"""``docker-lxc-gate doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.cli.options import opened
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.commandline.target_option import named, target_options
from docker_lxc_gate.doctor import messages, upgrade
from docker_lxc_gate.doctor.case import Diagnosis, Unseen
from docker_lxc_gate.doctor.examine import examine
from docker_lxc_gate.doctor.upgrade_pairs import AS_OF
from docker_lxc_gate.facts.audit.audit_files import read_errors
from docker_lxc_gate.lint.formats import finding_as_json
from docker_lxc_gate.masking import shown
from docker_lxc_gate.printable import Notice

#: More of one thing that a guest says than a reader wants to see (characters).
_LONGEST = 1000


@click.command(cls=Verb)
@click.argument("message", required=False, metavar="[MESSAGE]")
@with_form()
@click.option(
    "--upgrade",
    "before_upgrade",
    is_flag=True,
    help="Say whether Docker would still run after apt-get dist-upgrade, on the node and in the "
    "container.",
)
@target_options(".  [required without MESSAGE]")
def doctor(
    message: str | None,
    form: str,
    *,
    before_upgrade: bool,
    where: str | None,
    file: Path | None,
) -> None:
    """Say what is wrong with Docker in a container, why, and what to do. Changes nothing.

    Needs neither the plan nor anything of this project on the node. The most likely cause comes
    first. What could not be seen is listed, too. docs/doctor.md lists all problems.

    MESSAGE is a file, or - for standard input, with an error of Docker, of LXC or of systemd, as
    you would paste it: its cause is named, and the command that makes sure. No node is asked.

    With --upgrade, asks what apt would install, and compares it with a table of versions that are
    known not to go together. A version that the table does not know is named, and is no problem.

    Exit code 0: no problem, or advice only; 1: a problem is named; 3: the target cannot be asked,
    or no problem is named and something could not be seen, such as the cause of a MESSAGE.
    """
    ctid, machine, nothing = None, None, "no problem named"
    if message is not None:
        if where is not None or file is not None or before_upgrade:
            raise click.UsageError("a MESSAGE is read without a target: leave one of them out")
        name = "standard input" if message == "-" else message
        found = _of_message(message, name)
    else:
        aim = named(where, file)
        ctid = aim.ctid
        with opened(aim) as runtime:
            machine = runtime.node.machine
            found = upgrade.examine(runtime, ctid) if before_upgrade else examine(runtime, ctid)
        name = f"container {ctid} on {machine}"
        nothing = "no breakage known" if before_upgrade else nothing
    if form == "json":
        print_json(
            {
                "ctid": ctid,
                "node": machine,
                "versions_read": str(AS_OF) if before_upgrade else None,
                "problems": [finding_as_json(each, _LONGEST) for each in found.problems],
                "could_not_see": [
                    {"what": each.what, "why": shown(each.why, _LONGEST), "matters": each.matters}
                    for each in found.unseen
                ],
            }
        )
    else:
        _print(name, found, nothing)
        if before_upgrade:
            printing.tell(Notice(f"the table of versions was read on {AS_OF}"))
    sys.exit(found.exit_code)


def _of_message(message: str, name: str) -> Diagnosis:
    """Return the causes of a pasted text; raises FactError if it cannot be read."""
    with read_errors(name):
        if message == "-":
            content = options.standard_input().read(messages.MOST + 1)
        else:
            with Path(message).open("rb") as text_file:
                content = text_file.read(messages.MOST + 1)
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # as PowerShell writes a file
    text = content[: messages.MOST].decode("utf-16" if wide else "utf-8", errors="replace")
    found = messages.diagnose(text)
    if len(content) <= messages.MOST:
        return found
    rest = Unseen("what comes after the first 1 MiB", "no more of a text is read")
    return Diagnosis(found.problems, (*found.unseen, rest))


def _print(name: str, found: Diagnosis, nothing: str) -> None:
    named = [each for each in found.problems if not each.is_advice]
    if not named:
        style = "yellow" if found.unseen else "green"
        printing.line(f"{name}: {nothing}", style)
    for each in found.problems:
        printing.finding(each, _LONGEST)
    by_reason: dict[str, list[str]] = {}
    for unseen in found.unseen:
        by_reason.setdefault(unseen.why, []).append(unseen.what)
    for why, what in by_reason.items():
        printing.line(f"could not see {'; '.join(what)} ({shown(why, _LONGEST)})", "yellow")
