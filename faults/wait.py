"""A plugin of pytest: after collection, wait for a line on standard input before running.

If standard input closes, the runner is gone, and pytest exits.
"""

from __future__ import annotations

import os

import pytest

#: pytest replaces standard input after it has imported this module.
_ASKED = os.fdopen(os.dup(0), encoding="utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    """Wait. The gate's own hook, which comes next, connects to the target."""
    if not _ASKED.readline():
        pytest.exit("standard input was closed before the go-ahead: no scenario was run")
