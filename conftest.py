"""The gate's options, and the targets that they name; the rest is in ``steps/``."""

from __future__ import annotations

from pathlib import Path
from pkgutil import iter_modules

import pytest
from msgspec import structs

import steps
from docker_lxc_gate import home
from docker_lxc_gate.commandline import gate_options
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import fleet as every
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.target import EXPECTED, Target
from steps import fleet, machines

pytest_plugins = (
    "docker_lxc_gate.verdict",
    *(f"steps.{module.name}" for module in iter_modules(steps.__path__)),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say what is asked about, and whether it may be changed."""
    gate_options.for_pytest(parser, gate_options.OF_TARGETS)


def pytest_configure(config: pytest.Config) -> None:
    """Find the targets; a wrong one is a usage error before anything runs."""
    for option in ("--hosts", "--connection"):
        if config.getoption(option):
            raise pytest.UsageError(f"{option} is testinfra's, and not the gate's: name a --target")
    for option in ("--target-file", "--plan"):
        if (times := len(config.getoption(option))) > 1:
            raise pytest.UsageError(f"{option} is given {times} times, and takes one value")
    files = config.getoption("--target-file")
    file = Path(files[0]) if files else None
    try:
        given = {"plan": config.getoption("--plan")[0]} if config.getoption("--plan") else {}
        named: list[tuple[str, Target]] = []
        for text in _named(config, file):
            node = every.node_of(text, file) if text else None
            target = structs.replace(node or target_file.find(text, file), **given)
            named.append((text if node and text else str(target), target))
        fleet.ask_about(config, named)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def _named(config: pytest.Config, file: Path | None) -> list[str | None]:
    """Return what the command line names; ``all`` is every table of the target file."""
    if home.INSTALLED and not config.getoption("--target"):
        raise UsageError(f"name the container that is meant: --target {EXPECTED}")
    named: list[str | None] = config.getoption("--target") or [None]
    return [*target_file.names(file)] if file and named == ["all"] else named


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every scenario once a target."""
    if "target" in metafunc.fixturenames:
        targets = metafunc.config.stash[machines.TARGETS]
        metafunc.parametrize("target", targets, ids=str, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The node and the container that are asked about."""
    asked: Target = request.param
    return asked
