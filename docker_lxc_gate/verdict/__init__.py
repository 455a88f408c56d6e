"""The acceptance gate: the pytest plugin that makes ``pytest features/`` end in a verdict.

A conftest loads it with ``pytest_plugins = ["docker_lxc_gate.verdict"]``.

PYTEST_DONT_REWRITE: nothing here asserts, and a conftest imports this before pytest does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from docker_lxc_gate import home
from docker_lxc_gate.commandline import gate_options

if TYPE_CHECKING:
    import pytest

home.require_packages("pytest", "allure", "pytest_bdd", "testinfra")

_PLUGINS = (
    *("evidence", "collection", "verdicts", "claim", "session", "outputs.allure_bridge"),
    *("report", "outputs.github_annotations", "waivers"),
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the gate's options, and register the package's plugins.

    This does not use a ``pytest_plugins`` list, because pytest would warn that it cannot rewrite
    the assertions of modules that were imported before.
    """
    gate_options.for_pytest(parser, gate_options.OF_THE_REPORT)
    for name in _PLUGINS:
        module = importlib.import_module(f"{__name__}.{name}")
        pluginmanager.register(module, module.__name__)
