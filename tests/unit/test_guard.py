"""The tests' own guard: without a directory or a path, nothing is run."""

from __future__ import annotations

import pytest

from remediation.engine.journal import Journal
from targets.lock import Lock
from targets.transport import Local


def test_this_machines_journal_is_not_reached() -> None:
    with pytest.raises(AssertionError, match="this machine's own"):
        Journal(Local(), 950).entries()


def test_this_machines_lock_is_not_reached() -> None:
    with (
        pytest.raises(AssertionError, match="this machine's own"),
        Lock(Local()).held("nothing"),
    ):
        pass
