"""``docker-lxc-gate messages``: what doctor, lint and denials know, for programs."""

from __future__ import annotations

import click
import msgspec

from docker_lxc_gate.cli import printing
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.doctor.case import PROBLEMS
from docker_lxc_gate.doctor.message_table import MESSAGES, SIGNS
from docker_lxc_gate.lint.finding import Problem  # noqa: TC001 - the schema is made of it


class KnownMessage(msgspec.Struct, frozen=True):
    """A message of Docker, LXC or the kernel.

    ``text`` is an example of it, ``problem`` the id of what it means, ``sure`` how to make sure,
    and ``fix`` what to do, where that differs from the problem's.
    """

    text: str
    problem: str
    sure: str
    why: str = ""
    fix: str = ""


class Known(msgspec.Struct, frozen=True):
    """All that the program knows of problems and messages."""

    problems: tuple[Problem, ...]
    messages: tuple[KnownMessage, ...]


def all_known() -> Known:
    """Return the problems and messages, in the order in which they are looked for."""
    messages = (
        msgspec.convert(row, KnownMessage, from_attributes=True) for row in (*MESSAGES, *SIGNS)
    )
    return Known(tuple(PROBLEMS.values()), tuple(messages))


@click.command(cls=Verb)
@with_form()
def messages(form: str) -> None:
    """List the messages and problems that doctor and lint know, by stable ids.

    docs/messages.schema.json is the schema of the JSON.
    """
    everything = all_known()
    if form == "json":
        print_json(everything, exactly=True)
        return
    for row in everything.messages:
        printing.entry(
            row.text, "", [("means", f"{PROBLEMS[row.problem].title} [{row.problem}]", "")]
        )
