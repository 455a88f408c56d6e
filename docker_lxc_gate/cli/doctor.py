"""``docker-lxc-gate doctor``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.cli.options import opened
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.commandline.target_option import means_target, named, target_options
from docker_lxc_gate.doctor import messages, upgrade
from docker_lxc_gate.doctor.case import Diagnosis, Unseen
from docker_lxc_gate.doctor.examine import examine
from docker_lxc_gate.doctor.upgrade_pairs import AS_OF
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit.audit_files import read_errors
from docker_lxc_gate.lint.formats import finding_as_json
from docker_lxc_gate.machines import fleet
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.masking import shown
from docker_lxc_gate.printable import Notice

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime

_NOTHING, _NO_BREAKAGE = "no problem named", "no breakage known"
#: More of one thing that a guest says than a reader wants to see (characters).
_LONGEST = 1000


@click.command(cls=Verb)
@click.argument("message", required=False, metavar="[MESSAGE|TARGET]")
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
    you would paste it: its cause is named, and the command that makes sure. No node is asked. In
    its place may stand a target. NODE/all is each container of a node that has Docker, as it is and
    after an upgrade.

    With --upgrade, asks what apt would install, and compares it with a table of versions that are
    known not to go together. A version that the table does not know is named, and is no problem.

    Exit code 0: no problem, or advice only; 1: a problem is named; 3: the target cannot be asked,
    or no problem is named and something could not be seen, such as the cause of a MESSAGE.
    """
    if message and where is None and means_target(message):
        where, message = message, None
    if message is not None:
        if where is not None or file is not None or before_upgrade:
            raise click.UsageError("a MESSAGE is read without a target: leave one of them out")
        name = "standard input" if message == "-" else message
        diagnosis = _of_message(message, name)
        if form == "json":
            print_json(_as_json(None, None, diagnosis))
        else:
            _print(name, diagnosis, _NOTHING)
        sys.exit(diagnosis.exit_code)
    if where and (node := fleet.node_of(where, file)):
        _of_node(node, where, form, before_upgrade=before_upgrade)
        return
    aim = named(where, file)
    with opened(aim) as runtime:
        machine = runtime.node.machine
        asks = upgrade.examine if before_upgrade else examine
        diagnosis = asks(runtime, aim.ctid)
    if form == "json":
        print_json(_as_json(aim.ctid, machine, diagnosis))
    else:
        nothing = _NO_BREAKAGE if before_upgrade else _NOTHING
        _print(f"container {aim.ctid} on {machine}", diagnosis, nothing)
        if before_upgrade:
            printing.tell(Notice(f"the table of versions was read on {AS_OF}"))
    sys.exit(diagnosis.exit_code)


def _as_json(ctid: int | None, machine: str | None, diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "ctid": ctid,
        "node": machine,
        "versions_read": str(AS_OF),
        "problems": [finding_as_json(finding, _LONGEST) for finding in diagnosis.problems],
        "could_not_see": [
            {"what": unseen.what, "why": shown(unseen.why, _LONGEST), "matters": unseen.matters}
            for unseen in diagnosis.unseen
        ],
    }


def _of_node(node: Target, where: str, form: str, *, before_upgrade: bool) -> NoReturn:
    """Examine each container of a node that has Docker: what is wrong, and what would be."""
    with opened(node) as runtime:
        machine, listing = runtime.node.machine, fleet.listed(runtime, where)
        diagnoses = {ctid: _now_and_later(runtime, ctid, before_upgrade) for ctid in listing.asked}
    why = "it is stopped, so whether it has Docker is not known"
    diagnoses |= {c: Diagnosis((), (Unseen(f"container {c}", why),)) for c in listing.stopped}
    if form == "json":
        print_json([_as_json(ctid, machine, diagnosis) for ctid, diagnosis in diagnoses.items()])
    else:
        printing.line(str(listing))
        for ctids, alike in _alike(diagnoses).items():
            printing.line(f"{_containers(ctids)} on {machine}:")
            _print_findings(alike)
        if healthy := [ctid for ctid in listing.asked if diagnoses[ctid].exit_code == 0]:
            printing.line(f"{_containers(healthy)} on {machine}: {_NOTHING}", "green")
    sys.exit(_together(diagnoses.values()).exit_code)


def _containers(ctids: Sequence[int]) -> str:
    return f"container{'s' * (len(ctids) > 1)} {', '.join(map(str, ctids))}"


def _now_and_later(runtime: Runtime, ctid: int, before_upgrade: bool) -> Diagnosis:
    try:
        later = upgrade.examine(runtime, ctid)
        return later if before_upgrade else _together((examine(runtime, ctid), later))
    except FactError as error:  # the other containers are still examined
        return Diagnosis((), (Unseen(f"container {ctid}", str(error)),))


def _together(diagnoses: Iterable[Diagnosis]) -> Diagnosis:
    """Return several diagnoses as one, in which each finding stands once."""
    parts = [*diagnoses]
    problems = dict.fromkeys(problem for part in parts for problem in part.problems)
    unseen = dict.fromkeys(unseen for part in parts for unseen in part.unseen)
    return Diagnosis(tuple(problems), tuple(unseen))


def _alike(diagnoses: dict[int, Diagnosis]) -> dict[tuple[int, ...], Diagnosis]:
    """Return what containers have in common, then what each has alone."""
    every = _together(diagnoses.values())
    having = {
        part: tuple(c for c, of in diagnoses.items() if part in (*of.problems, *of.unseen))
        for part in (*every.problems, *every.unseen)
    }
    return {
        ctids: Diagnosis(
            tuple(problem for problem in every.problems if having[problem] == ctids),
            tuple(unseen for unseen in every.unseen if having[unseen] == ctids),
        )
        for ctids in sorted({*having.values()}, key=lambda ctids: (-len(ctids), ctids))
    }


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
    diagnosis = messages.diagnose(text)
    if len(content) <= messages.MOST:
        return diagnosis
    rest = Unseen("what comes after the first 1 MiB", "no more of a text is read")
    return Diagnosis(diagnosis.problems, (*diagnosis.unseen, rest))


def _print(name: str, diagnosis: Diagnosis, nothing: str) -> None:
    named = [finding for finding in diagnosis.problems if not finding.is_advice]
    if not named:
        style = "yellow" if diagnosis.unseen else "green"
        printing.line(f"{name}: {nothing}", style)
    _print_findings(diagnosis)


def _print_findings(diagnosis: Diagnosis) -> None:
    for finding in diagnosis.problems:
        printing.finding(finding, _LONGEST)
    by_reason: dict[str, list[str]] = {}
    for unseen in diagnosis.unseen:
        by_reason.setdefault(unseen.why, []).append(unseen.what)
    for why, what in by_reason.items():
        printing.line(f"could not see {'; '.join(what)} ({shown(why, _LONGEST)})", "yellow")
