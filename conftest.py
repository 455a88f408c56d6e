"""The gate's options, and the targets that they name; the rest is in ``steps/``."""

from __future__ import annotations

from pathlib import Path
from pkgutil import iter_modules

import pytest
from msgspec import structs

import steps
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.target import DEFAULT, EXPECTED, Target
from docker_lxc_gate.verdict import record
from docker_lxc_gate.verdict.requirements import CATALOGUE
from remediation import plan_file
from steps.machines import TARGETS

pytest_plugins = (
    "docker_lxc_gate.verdict",
    *(f"steps.{module.name}" for module in iter_modules(steps.__path__)),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say what is asked about, and whether it may be changed."""
    group = parser.getgroup("gate")
    group.addoption(
        "--target",
        action="append",
        default=[],
        metavar="T",
        help=f"{EXPECTED}, or a name in the target file; examined as it stands; may be "
        f"repeated. Without it the lab is restored, the plan applied, and {DEFAULT} "
        "provisioned",
    )
    group.addoption(
        "--target-file",
        action="append",
        default=[],
        metavar="TOML",
        help="file of targets, by name; docs/targets.md has the keys",
    )
    group.addoption(
        "--plan",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="plan by which it is judged: docker-in-lxc, plain, or a TOML file (docs/plan.md)",
    )
    group.addoption(
        "--allow-mutation",
        action="store_true",
        help="also run the scenarios that change something on a target (docs/what-changes.md)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find the targets; a wrong one is a usage error before anything runs."""
    for option in ("--target-file", "--plan"):
        if (times := len(config.getoption(option))) > 1:
            raise pytest.UsageError(f"{option} is given {times} times, and takes one value")
    files = config.getoption("--target-file")
    file = Path(files[0]) if files else None
    try:
        targets = [target_file.find(text, file) for text in config.getoption("--target") or [None]]
        given = {"plan": config.getoption("--plan")[0]} if config.getoption("--plan") else {}
        config.stash[TARGETS] = [structs.replace(target, **given) for target in targets]
        for target in config.stash[TARGETS]:
            plan = plan_file.find(target.plan)
            about = record.about(config, str(target))
            about.plan, about.clauses = plan.identity, tuple(filter(plan.applies, CATALOGUE))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    names = [*map(str, targets)]
    if again := {name for name in names if names.count(name) > 1}:
        raise pytest.UsageError(f"--target: {', '.join(sorted(again))} is named twice")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every scenario once a target."""
    if "target" in metafunc.fixturenames:
        targets = metafunc.config.stash[TARGETS]
        metafunc.parametrize("target", targets, ids=str, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The node and the container that are asked about."""
    asked: Target = request.param
    return asked
