"""Each fault, from a restored snapshot, gives the verdict of its row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults.catalogue import CTID, FAULTS, NOT_COMPLIANT, UNDETERMINED, Fault
from faults.conftest import snapshot

if TYPE_CHECKING:
    from lab.machine import Lab
    from remediation.ssh import Ssh

_ROOT = Path(__file__).parents[1]
_INSIDE = f'inside() {{ pct exec {CTID} --keep-env 0 -- "$@" </dev/null; }}; set -e; '
#: Allure's words for the two verdicts.
_STATUS = {NOT_COMPLIANT: "failed", UNDETERMINED: "broken"}


def gate(
    *arguments: str, results: Path
) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, str]]]:
    """Run the gate; return how it ended, and each scenario's status and message by title."""
    argv = [sys.executable, "-m", "pytest", *arguments, "--no-report", f"--alluredir={results}"]
    done = subprocess.run(
        [*argv, f"--junit-xml={results}/junit.xml"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    said = {}
    for path in results.glob("*-result.json"):
        result = json.loads(path.read_text())
        details = result.get("statusDetails") or {}
        said[result["name"]] = {"status": result["status"], "message": details.get("message", "")}
    return done, said


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_is_noticed_and_named(fault: Fault, lab: Lab, node: Ssh, tmp_path: Path) -> None:
    """The verdict is the row's, and the report says what the cause is."""
    lab.restore(snapshot("applied" if fault.fresh else "compliant"))
    node.run(["bash", "-c", _INSIDE + fault.inject], timeout=300).require()
    feature = f"features/{fault.ask}.feature"
    done, said = gate(feature, "--target", f"lab/{CTID}", "--allow-mutation", results=tmp_path)
    assert fault.scenario in said, f"{done.stdout}\n{done.stderr}"
    found = said[fault.scenario]
    assert (found["status"], done.returncode) == (_STATUS[fault.verdict], fault.verdict), found
    for word in fault.words:
        assert word in found["message"], found["message"]


def test_without_a_fault_the_same_questions_are_compliant(lab: Lab, tmp_path: Path) -> None:
    """The control: what turns red above is green here, asked in the same way."""
    lab.restore(snapshot("compliant"))
    asked = sorted({f"features/{fault.ask}.feature" for fault in FAULTS if not fault.fresh})
    done, said = gate(*asked, "--target", f"lab/{CTID}", "--allow-mutation", results=tmp_path)
    assert done.returncode == 0, done.stdout
    assert {fault.scenario for fault in FAULTS if not fault.fresh} <= set(said)


def test_f60_what_cannot_be_taken_back_is_named(lab: Lab, node: Ssh) -> None:
    """Rollback: a file that cannot be removed is exit 5, by name; all else is taken back."""
    lab.restore(snapshot("applied"))
    node.run(["chattr", "+i", "/etc/apparmor.d/tunables/nesting"]).require()
    done = _remediation("rollback")
    assert done.returncode == 5, done.stderr
    assert "nesting tunable" in done.stderr
    assert node.read("/etc/apparmor.d/lxc-phoenix-v2") is None
    node.run(["chattr", "-i", "/etc/apparmor.d/tunables/nesting"]).require()
    assert _remediation("rollback").returncode == 0
    assert node.read("/etc/apparmor.d/tunables/nesting") is None


def test_f60_a_profile_in_use_stays_and_is_named(lab: Lab, node: Ssh) -> None:
    """Rollback never takes a profile from under a running container."""
    lab.restore(snapshot("compliant"))
    done = _remediation("rollback")
    assert done.returncode == 5, done.stderr
    assert "stays loaded" in done.stderr
    pid = node.run(["lxc-info", "-n", str(CTID), "-p", "-H"]).require().text.strip()
    assert node.read(f"/proc/{pid}/attr/current") == b"lxc-phoenix-v2 (enforce)\n"


def test_f70_an_unknown_host_key_is_never_accepted(lab: Lab, tmp_path: Path) -> None:
    """Access: nothing is judged, and the way out is printed."""
    where = f"root@127.0.0.1:{lab.address.port}/{CTID}"
    done, said = gate("features/storage_driver.feature", "--target", where, results=tmp_path)
    assert done.returncode == UNDETERMINED, done.stdout
    assert {each["status"] for each in said.values()} == {"broken"}
    assert "is not known" in done.stdout
    assert "SHA256:" in done.stdout


def _remediation(command: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "remediation", command, "--yes", "--target", f"lab/{CTID}"]
    return subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False)
