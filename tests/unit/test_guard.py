"""The tests' own guard: without a directory or a path, nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from remediation.engine import journal
from remediation.engine.journal import Journal
from targets import lock
from targets.lock import Lock
from targets.transport import Local

if TYPE_CHECKING:
    from collections.abc import Callable


def hold_lock() -> None:
    with Lock(Local()).held("nothing"):
        pass


@pytest.mark.parametrize(
    ("reach", "path"),
    [(Journal(Local(), 950).entries, journal.DIRECTORY), (hold_lock, lock.PATH)],
    ids=["journal", "lock"],
)
def test_guard_keeps_tests_away_from_this_machines(reach: Callable[[], None], path: str) -> None:
    with pytest.raises(AssertionError) as kept:
        reach()
    assert path in str(kept.value)
