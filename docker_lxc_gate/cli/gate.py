"""``docker-lxc-gate gate``."""

from __future__ import annotations

import sys
from itertools import pairwise

import click
import pytest

from docker_lxc_gate import home
from docker_lxc_gate.commandline import gate_options, target_option


@click.command(context_settings={"ignore_unknown_options": True})
@gate_options.for_click
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
