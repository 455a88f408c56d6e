"""Keeps these tests away from the journal and the lock of the machine that they run on."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from remediation import journal, lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FORBIDDEN = (journal.DIRECTORY, lock.PATH)


@pytest.fixture(autouse=True, scope="session")
def _not_this_machines_own() -> Iterator[None]:
    """Fail before a command that names them is started, by whatever transport."""
    start = subprocess.Popen.__init__

    def guarded(self: Any, argv: Sequence[str], *args: Any, **options: Any) -> None:
        if any(path in str(word) for path in _FORBIDDEN for word in argv):
            raise AssertionError(f"a test was about to touch this machine's own: {argv}")
        start(self, argv, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", guarded)
        yield
