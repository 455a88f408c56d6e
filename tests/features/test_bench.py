"""What the benchmark compares with a bare shell: nothing that only one of them does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.__main__ import COMPARED

ROOT = Path(__file__).parents[2]


def _collected(*arguments: str) -> set[str]:
    argv = [sys.executable, "-m", "pytest", "features/", "--collect-only", "-q", *arguments]
    seen = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in seen.stdout.splitlines() if "::" in line}


def test_only_the_rollback_and_the_prerequisites_are_left_out() -> None:
    everything, compared = _collected(), _collected(*COMPARED)
    left_out = {line.partition("::")[0] for line in everything - compared}
    assert left_out == {"features/prerequisites.feature", "features/rollback.feature"}
    assert not {line for line in compared if line.startswith(tuple(left_out))}
    assert compared
