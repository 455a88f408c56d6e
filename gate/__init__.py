"""The acceptance gate: what makes ``pytest features/`` end in a verdict.

A conftest takes all of it in with ``pytest_plugins = ["gate"]``.

PYTEST_DONT_REWRITE: nothing here asserts, and a conftest imports this before pytest does.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: Without these no scenario runs. pytest would end with 4 and a traceback, or with 1: a verdict.
_NEEDED = ("allure", "pytest_bdd", "testinfra")

if _missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
    sys.stderr.write(
        f"error: this Python has no {', '.join(_missing)}. Run scripts/setup, and then "
        ".venv/bin/pytest in the place of pytest\n"
    )
    raise SystemExit(3)

_PLUGINS = ("collection", "verdicts", "claim", "session", "allure_bridge", "report")


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the package's plugins.

    By hand: named in a ``pytest_plugins`` list, each would have to be imported by nobody else
    before, or pytest warns that it cannot rewrite its assertions.
    """
    for name in _PLUGINS:
        pluginmanager.register(importlib.import_module(f"gate.{name}"), f"gate.{name}")
