"""Collecting ``.feature`` files directly, without a Python file for each.

Scenarios are ordinary pytest items: node ids, ``-k`` and ``-m`` work. Tags are few:
``@mutates``, ``@node`` and ``@container`` become marks, and ``@req:VAL-2`` becomes the mark
``req(id="VAL-2")``, selected with ``-m 'req(id="VAL-2")'`` or ``-k VAL-2``. ``@id:driver`` becomes
no mark: :mod:`proof.faults.scenarios` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from pytest_bdd.scenario import scenario_wrapper_template_registry

from docker_lxc_gate.tables import table
from docker_lxc_gate.verdict.record import HOLDS, Outcome, Verdict
from docker_lxc_gate.verdict.requirements import CATALOGUE, in_order

if TYPE_CHECKING:
    from pytest_bdd.parser import Scenario

#: The tags that are not requirements, and their meaning.
TAGS = table("docker_lxc_gate.verdict", "tags", dict[str, str])
REQUIREMENT = "req:"
#: ``@id:driver`` is a scenario's name for programs: the faults use it, so a title may change.
IDENTITY = "id:"
#: What a wrapper of pytest_cmdline_main is: it sees the exit code, and returns one.
ExitCodes = Generator[None, int | pytest.ExitCode, int | pytest.ExitCode]
#: A step asks for its fixtures when it runs; what is to be parametrised must be known before.
_MODULE = """
import pytest
from pytest_bdd import scenarios
pytestmark = pytest.mark.usefixtures("target")
scenarios({path!r})
"""
#: Why a scenario is not asked: a word and a reason; whoever deselects it sets it.
LEFT_OUT = pytest.StashKey[tuple[Verdict, str]]()
_BY_HAND = Verdict.NOT_ASKED, "left out by the command line (-k, -m or --deselect)"
_FILES = pytest.StashKey[tuple[Path, ...]]()
#: Options with which pytest runs nothing.
NOT_A_RUN = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")


@pytest.fixture(scope="session")
def target() -> object:
    """What every scenario is about; a conftest overrides this, and parametrises it."""
    return None


class FeatureFile(pytest.Module):
    """A ``.feature`` file as a module whose functions are its scenarios."""

    def _getobj(self) -> ModuleType:
        """Build the module in memory: ``scenarios`` fills the namespace that calls it."""
        module = ModuleType(self.path.stem)
        module.__file__ = str(self.path)
        source = compile(_MODULE.format(path=str(self.path)), str(self.path), "exec")
        exec(source, module.__dict__)  # noqa: S102 - the lines above
        return module


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> FeatureFile | None:
    """Take a feature file in."""
    if file_path.suffix != ".feature":
        return None
    file: FeatureFile = FeatureFile.from_parent(parent, path=file_path)
    return file


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks."""
    for name, meaning in TAGS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.addinivalue_line("markers", "req(id): the scenario judges this requirement")


@pytest.hookimpl(tryfirst=True)
def pytest_bdd_apply_tag(tag: str, function: Callable[..., Any]) -> Any:
    """Turn ``@req:ID`` into a mark, and ``@id:NAME`` into none; pytest-bdd does the other tags.

    A mark's registered name ends at its first colon, so the tag's own text cannot be one.
    """
    if tag.startswith(IDENTITY):
        return function
    if not tag.startswith(REQUIREMENT):
        return None
    if tag.removeprefix(REQUIREMENT) not in CATALOGUE:
        raise pytest.UsageError(f"@{tag}: there is no such requirement")
    return pytest.mark.req(id=tag.removeprefix(REQUIREMENT))(function)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``-k`` find a scenario by requirement."""
    item.extra_keyword_matches.update(requirements_of(item))


def feature_files(config: pytest.Config) -> tuple[Path, ...]:
    """Return the feature files that the command line asks for; none means: not a gate run."""
    if _FILES not in config.stash:
        roots = [config.invocation_params.dir / arg.split("::")[0] for arg in config.args]
        files = {root for root in roots if root.suffix == ".feature" and root.is_file()}
        files.update(path for root in roots for path in root.rglob("*.feature"))
        config.stash[_FILES] = tuple(sorted(files))
    return config.stash[_FILES]


def judges(config: pytest.Config) -> bool:
    """Whether the command line asks for a run of the gate, and not only for a list."""
    return bool(feature_files(config)) and not any(map(config.getoption, NOT_A_RUN))


def requirements_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the ids of the requirements that a scenario judges, in the catalogue's order."""
    return in_order({str(mark.kwargs["id"]) for mark in item.iter_markers("req")})


def scenario_of(item: pytest.Item) -> Scenario | None:
    """Return the scenario an item stands for; None for other tests."""
    if not isinstance(item, pytest.Function) or not isinstance(item.parent, FeatureFile):
        return None
    return scenario_wrapper_template_registry[item.obj].render({})


def expected(item: pytest.Item) -> Outcome | None:
    """Return what is known of a scenario before it runs; None for other tests."""
    if (scenario := scenario_of(item)) is None:
        return None
    return Outcome(
        item.nodeid,
        scenario.name,
        next((t.removeprefix(IDENTITY) for t in scenario.tags if t.startswith(IDENTITY)), ""),
        target_of(item),
        scenario.feature.name,
        requirements_of(item),
        f"{item.nodeid.partition('::')[0]}:{scenario.line_number}",
    )


def left_out(item: pytest.Item) -> Outcome | None:
    """Return the outcome of a scenario that is not asked; None for other tests."""
    verdict, why = item.stash.get(LEFT_OUT, _BY_HAND)
    outcome = expected(item)
    return outcome and structs.replace(outcome, verdict=verdict, code=HOLDS, cause=why)


def target_of(item: pytest.Item) -> str:
    """Return the name of an item's target; empty if it has none."""
    return str(item.callspec.params.get("target", "")) if hasattr(item, "callspec") else ""
