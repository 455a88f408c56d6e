"""Faults that are no rows of the catalogue, and the control of those that are."""

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.ssh.connection import Ssh
from proof.faults import run
from proof.faults.fault import APPLIED, COMPLIANT, CTID, HEALTHY
from proof.faults.snapshots import WITHOUT_BACKUPS
from tests.live.cases.healthy import asked
from tests.live.running import TARGET, remediation, restore


def test_without_a_fault_the_same_questions_are_compliant(lab: Lab) -> None:
    """The control: what turns red above is green here, asked in the same way."""
    restore(lab, HEALTHY)
    found = run.ask(asked(), "--target", TARGET, "--allow-mutation")
    assert {name: result for name, result in found.items() if result.verdict != COMPLIANT} == {}


def test_f60_what_cannot_be_rolled_back_is_named(lab: Lab, node: Ssh) -> None:
    """Rollback: a file that cannot be removed is exit 5, by name; all else is rolled back."""
    restore(lab, APPLIED)
    node.run(["chattr", "+i", "/etc/apparmor.d/tunables/nesting"]).require()
    done = remediation("rollback", "--yes", "--target", TARGET, timeout=600)
    assert done.returncode == 5, done.stderr
    assert "nesting tunable" in done.stderr
    assert node.read("/etc/apparmor.d/lxc-phoenix-v2") is None
    node.run(["chattr", "-i", "/etc/apparmor.d/tunables/nesting"]).require()
    assert remediation("rollback", "--yes", "--target", TARGET, timeout=600).returncode == 0
    assert node.read("/etc/apparmor.d/tunables/nesting") is None


def test_f60_a_profile_in_use_stays_and_is_named(lab: Lab, node: Ssh) -> None:
    """Rollback never takes a profile from under a running container."""
    restore(lab, WITHOUT_BACKUPS)
    done = remediation("rollback", "--yes", "--target", TARGET, timeout=600)
    assert done.returncode == 5, done.stderr
    assert "stays loaded" in done.stderr
    pid = node.run(["lxc-info", "-n", str(CTID), "-p", "-H"]).require().text.strip()
    assert node.read(f"/proc/{pid}/attr/current") == b"lxc-phoenix-v2 (enforce)\n"
