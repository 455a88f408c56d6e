"""``docker-lxc-gate gate``."""

from __future__ import annotations

import functools
import sys
from itertools import pairwise

import click
import pytest

from docker_lxc_gate import home
from docker_lxc_gate.commandline import target_option
from docker_lxc_gate.machines.target import EXPECTED

#: An option that goes to pytest as often as it is given.
_given = functools.partial(click.option, multiple=True)


@click.command(context_settings={"ignore_unknown_options": True})
@_given(
    "--target",
    metavar="T",
    help=f"{EXPECTED}, or a name in the target file. HOST/all: each container of a node that has "
    "Docker; all: each table of the target file. May be repeated.",
)
@_given("--target-file", metavar="TOML", help="File of targets, by name.")
@_given(
    "--select", metavar="tag=TAG", help="Of HOST/all: the containers with this tag of Proxmox's."
)
@_given(
    "--plan",
    metavar="NAME|FILE",
    help="Plan by which it is judged: docker-in-lxc, plain, or a TOML file (docs/plan.md).",
)
@click.option(
    "--allow-mutation",
    is_flag=True,
    help="Also run the scenarios that change something on a target (docs/what-changes.md).",
)
@click.option(
    "--read-backups",
    is_flag=True,
    help="Read a container's backup to its end; --allow-mutation implies it.",
)
@_given(
    "--waivers",
    metavar="TOML",
    help="File of waivers: what may be not compliant, why and until when (docs/verdicts.md).",
)
@click.option("--no-report", is_flag=True, help="Do not render the Allure results.")
@_given(
    "--metrics",
    metavar="FILE.prom",
    help="Also write the verdicts for Prometheus, as node_exporter's textfile collector reads it.",
)
@_given(
    "--format",
    type=click.Choice(["text", "github"]),
    help="github: also print causes as annotations of a GitHub workflow.",
)
@_given("--docs-url", metavar="URL", help="Address of docs/, to whose pages the report links.")
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST'S ARGUMENT]...")
def gate(others: tuple[str, ...], **given: bool | tuple[str, ...]) -> None:
    """Judge a container: compliant, not compliant or undetermined.

    It looks at the container as it stands, and is read-only without --allow-mutation. In a clone,
    without --target, it builds and boots the lab, and judges the plan there. Results and
    report are written to ./reports. Pytest's options work, too: -k VAL-4 runs the scenarios of a
    clause, -m "not container" those of the node; -x stops at the first failure; --collect-only
    lists the scenarios.

    Exit code 0: compliant; 1: not compliant; 2: wrong usage; 3: undetermined; 4: a waiver
    is expired or no longer needed; 130: interrupted; docs/verdicts.md has all.
    """
    for before, word in pairwise(("", *others)):
        if target_option.means_target(word) and not before.startswith("-"):  # no option's value
            raise click.UsageError(f"a target has its option before it: --target {word}")
    if home.INSTALLED and not given["target"]:
        target_option.named(None, None)
    sys.argv = ["pytest", "-c", str(home.HOME / "pyproject.toml"), str(home.HOME / "features")]
    for name, values in given.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(values, bool):
            sys.argv += [option] * values
        else:
            sys.argv += [f"{option}={value}" for value in values]
    sys.argv += others
    sys.exit(pytest.console_main())
