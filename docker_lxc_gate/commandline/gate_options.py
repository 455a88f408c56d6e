"""The gate's options, as pytest and as ``docker-lxc-gate gate`` take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from docker_lxc_gate.machines.target import EXPECTED

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class GateOption:
    """An option; one without ``metavar`` and ``choices`` takes no value.

    Without a ``default``, pytest collects all values that are given.
    """

    name: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    default: str | None = None

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return not (self.metavar or self.choices)


#: What is asked, of which targets; ``steps/`` reads these.
OF_TARGETS = (
    GateOption(
        "--target",
        f"{EXPECTED}, or a name in the target file. HOST/all: each container of a node that has "
        "Docker; all: each table of the target file. May be repeated.",
        "T",
    ),
    GateOption("--target-file", "File of targets, by name.", "TOML"),
    GateOption("--select", "Of HOST/all: the containers with this tag of Proxmox's.", "tag=TAG"),
    GateOption(
        "--plan",
        "Plan by which it is judged: docker-in-lxc, plain, or a TOML file (docs/plan.md).",
        "NAME|FILE",
    ),
    GateOption(
        "--allow-mutation",
        "Also run the scenarios that change something on a target (docs/what-changes.md).",
    ),
    GateOption(
        "--read-backups",
        "Read a container's backup to its end; --allow-mutation implies it.",
    ),
)
#: What is written; ``docker_lxc_gate/verdict/`` reads these.
OF_THE_REPORT = (
    GateOption(
        "--waivers",
        "File of waivers: what may be not compliant, why and until when (docs/verdicts.md).",
        "TOML",
    ),
    GateOption("--no-report", "Do not render the Allure results."),
    GateOption(
        "--metrics",
        "Also write the verdicts for Prometheus, as node_exporter's textfile collector reads it.",
        "FILE.prom",
        default="",
    ),
    GateOption(
        "--format",
        "github: also print causes as annotations of a GitHub workflow.",
        choices=("text", "github"),
        default="text",
    ),
    GateOption(
        "--docs-url",
        "Address of docs/, to whose pages the report links.",
        "URL",
        default="",
    ),
)


def for_pytest(parser: pytest.Parser, options: Iterable[GateOption]) -> None:
    """Add options to pytest's."""
    add = parser.getgroup("gate", "acceptance gate").addoption
    for option in options:
        how: dict[str, Any] = {"metavar": option.metavar}
        if option.is_flag:
            how = {"action": "store_true"}
        elif option.default is None:
            how |= {"action": "append", "default": []}
        else:
            how |= {"choices": option.choices or None, "default": option.default}
        add(option.name, help=option.help, **how)


def for_click(command: Callable[..., None]) -> Callable[..., None]:
    """Add all options to a click command, which hands each over as often as it is given."""
    for option in reversed((*OF_TARGETS, *OF_THE_REPORT)):
        how: dict[str, Any] = {"is_flag": True}
        if not option.is_flag:
            kind = click.Choice(option.choices) if option.choices else None
            how = {"multiple": True, "metavar": option.metavar, "type": kind}
        command = click.option(option.name, help=option.help, **how)(command)
    return command
