"""Options that several verbs share, and the target with its plan, opened.

This is the only module here that knows the lab.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Concatenate, ParamSpec

import click
from msgspec import structs

from docker_lxc_gate.cli import printing
from docker_lxc_gate.commandline.output import SCREEN
from docker_lxc_gate.commandline.target_option import with_target
from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.printable import Notice, command
from remediation import applied, docker_in_lxc, plan_file
from remediation.engine.plan import Plan, require_known

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target

_P = ParamSpec("_P")
_PLAN_HELP = (
    "The plan: docker-in-lxc, plain, or a TOML file.  [default: the target's, or the node's]"
)


def _known(_: click.Context, __: click.Parameter, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse an id that no plan has; a node's plan may have fewer actions."""
    require_known(asked, docker_in_lxc.CLAUSES, docker_in_lxc.ACTIONS)
    return asked


only = click.option(
    "--only",
    multiple=True,
    callback=_known,
    metavar="ID",
    help="Only the actions of this clause, of all clauses with this prefix (STEP-2), or the action "
    "with this id. May be repeated. The ids are "
    + ", ".join([*docker_in_lxc.CLAUSES, *docker_in_lxc.ACTIONS])
    + ".",
)
yes = click.option("--yes", "-y", is_flag=True, help="Answer yes to every question.")


def standard_input() -> BinaryIO:
    """Return standard input; of a terminal, say how a paste is ended.

    Raises FactError if it is closed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise FactError("standard input is closed, and - means that it is read")
    if sys.stdin.isatty():
        printing.tell(Notice("paste the lines here, and end them by Enter and Ctrl-D"))
    return sys.stdin.buffer


def with_plan(verb: Callable[Concatenate[Target, _P], None]) -> Callable[_P, None]:
    """Give a command its target, with the plan that ``--plan`` names; put this below all options.

    A plan that is none ends the program with 2.
    """

    def wrapper(aim: Target, *args: _P.args, **kwargs: _P.kwargs) -> None:
        plan = kwargs.pop("plan_name") or aim.plan
        try:
            plan_file.find(plan)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
        verb(structs.replace(aim, plan=plan), *args, **kwargs)

    option = click.option("--plan", "plan_name", metavar="NAME|FILE", help=_PLAN_HELP)
    named: Any = functools.wraps(verb)(wrapper)
    return option(with_target(named))


def opened(aim: Target) -> AbstractContextManager[Runtime]:
    """Return the context of a connection to a target's node; see ``connect.opened``."""
    return connect.opened(aim, lab=lab_address, listener=_show, tell=printing.tell)


def _show(result: CommandResult) -> None:
    """Print a command that was run, if --verbose was given."""
    if SCREEN.verbose:
        ended = f"ended with {result.exit_code} after {result.seconds:.1f} s"
        printing.tell(f"{result.machine}: {command(result.argv)} {ended}")


@contextmanager
def planned(
    aim: Target, only: Sequence[str] = (), *, choose: bool = True
) -> Iterator[tuple[Runtime, Callable[..., Plan]]]:
    """Open the target; yield its runtime, and a function that makes a new plan.

    Unless ``choose`` is off, a target without a plan gets the one that counts there, and says so.
    """
    with opened(aim) as runtime:
        if choose and aim.plan is None:
            name, why = applied.plan_of(runtime.node, aim)
            printing.tell(Notice(f"the plan is {name}, because {why}"))
            aim = structs.replace(aim, plan=name)

        def plan(**part: Any) -> Plan:
            wanted = plan_file.find(aim.plan)
            known = {"repository": aim.repository, "tell": printing.tell, "wanted": wanted}
            return docker_in_lxc.plan(runtime, aim.ctid, **{**known, **part}).only(only)

        yield runtime, plan
