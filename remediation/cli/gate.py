"""``docker-lxc-gate gate``."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click
import pytest

from docker_lxc_gate.commandline import target_option
from docker_lxc_gate.home import HOME
from docker_lxc_gate.machines.target import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_Command = TypeVar("_Command", bound="Callable[..., None]")
#: What is made of a record, and what it is compared with.
_REPORT = (
    click.option("--no-report", is_flag=True, help="Do not render the Allure results."),
    click.option("--ctrf", multiple=True, metavar="FILE", help="Also write the verdicts as CTRF."),
    click.option(
        "--metrics",
        multiple=True,
        metavar="FILE.prom",
        help="Also write the verdicts for Prometheus, as node_exporter's textfile collector reads "
        "it.",
    ),
    click.option(
        "--format",
        multiple=True,
        type=click.Choice(["text", "github"]),
        help="github: also print causes as annotations of a GitHub workflow.",
    ),
    click.option(
        "--baseline",
        multiple=True,
        metavar="VERDICT.JSON",
        help="Record of an earlier run: also say what was fixed since, and what broke.",
    ),
)


def report_options(command: _Command) -> _Command:
    """Add the options of a run's reports to a verb."""
    return functools.reduce(lambda made, add: add(made), _REPORT[::-1], command)


def run(others: Sequence[str], given: Mapping[str, bool | tuple[str, ...]]) -> NoReturn:
    """Run the gate with pytest's arguments and the gate's options, and end as it does."""
    sys.argv = ["pytest", "-c", str(HOME / "pyproject.toml"), str(HOME / "features")]
    for name, values in given.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(values, bool):
            sys.argv += [option] * values
        else:
            sys.argv += [f"{option}={value}" for value in values]
    sys.argv += others
    sys.exit(pytest.console_main())


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--target",
    multiple=True,
    metavar="T",
    help=f"{EXPECTED}, or a name in the target file. HOST/all: each container of a node that has "
    "Docker. May be repeated.",
)
@click.option("--target-file", multiple=True, metavar="TOML", help="File of targets, by name.")
@click.option(
    "--select",
    multiple=True,
    metavar="tag=TAG",
    help="Of HOST/all: the containers with this tag of Proxmox's.",
)
@click.option(
    "--plan",
    multiple=True,
    metavar="NAME|FILE",
    help="Plan by which it is judged: docker-in-lxc, plain, or a TOML file (docs/plan.md).",
)
@click.option(
    "--allow-mutation",
    is_flag=True,
    help="Also run the scenarios that change something on a target (docs/what-changes.md).",
)
@click.option(
    "--waivers",
    multiple=True,
    metavar="TOML",
    help="File of waivers: what may be not compliant, why and until when (docs/verdicts.md).",
)
@click.option(
    "--shard",
    multiple=True,
    metavar="K/N",
    help="Judge only the targets of every N-th node, from the K-th on (docs/targets.md).",
)
@report_options
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST'S ARGUMENT]...")
def gate(others: tuple[str, ...], **given: bool | tuple[str, ...]) -> None:
    """Judge a container: compliant, not compliant or undetermined.

    It looks at the container as it stands, and is read-only without --allow-mutation. Results and
    report are written to ./reports. Pytest's options work, too: -k VAL-4 runs the scenarios of a
    clause, -m "not container" those of the node; -x stops at the first failure; --collect-only
    lists the scenarios.

    Exit code 0: compliant; 1: not compliant; 2: wrong usage; 3: undetermined; 4: a waiver
    is expired or no longer needed; 130: interrupted; docs/verdicts.md has all.
    """
    if not given["target"]:
        target_option.named(None, None)
    run(others, given)
