"""The files of a healthy lab have no finding: those of its node, of its container, and Docker's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults.fault import CTID
from faults.states import snapshot

if TYPE_CHECKING:
    from lab.machine import Lab

_ROOT = Path(__file__).parents[2]
#: What is so on purpose: the plan writes a tunable that nothing reads (STEP-1.2).
KNOWN = {("tunable-without-effect", "/etc/apparmor.d/tunables/nesting")}


@pytest.mark.parametrize("where", ["lab", f"lab/{CTID}"])
def test_files_of_a_healthy_lab_have_no_finding(lab: Lab, where: str) -> None:
    lab.restore(snapshot("compliant"))
    argv = [sys.executable, "-m", "remediation", "lint", "--target", where, "--format", "json"]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["files"] > 10
    found = {(each["id"], each["file"]) for each in told["findings"]}
    not_checked = {each for each in found if each[0] == "not-checked"}  # the node has no shellcheck
    assert found - not_checked == KNOWN
