"""Each fault, from a restored snapshot, turns red what it names and nothing else.

``pytest tests/live/test_faults.py`` runs a few, which kill each scenario that is not slow; with
``FAULTS=all`` in the environment the whole catalogue. The kill matrix is in
``reports/``, one for each lab that took part.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.ssh.connection import Ssh
from proof.faults import matrix
from proof.faults.catalogue import FAULTS, SLOW, sample
from proof.faults.chain import Chain, ordered
from proof.faults.fault import APPLIED, COMPLIANT, CTID, HEALTHY, Fault
from proof.faults.run import GateProcess, Result
from proof.faults.scenarios import scenarios
from proof.faults.states import WITHOUT_BACKUPS
from tests.live.cases.healthy import asked
from tests.live.running import ROOT, TARGET, gate, remediation, restore

_WHOLE = os.environ.get("FAULTS") == "all"
CHOSEN = ordered(FAULTS if _WHOLE else sample())


@pytest.fixture(scope="session")  # one of several labs may come back to the faults
def results(part: str | None) -> Iterator[list[Result]]:
    """What came of each fault; the matrix of them all is left behind."""
    found: list[Result] = []
    yield found
    if found:
        matrix.write(found, ROOT / "reports", part)


class TestChain:
    """The chain ends with the class, so that no other test changes the lab while it is open."""

    @pytest.fixture(scope="class")
    @classmethod
    def chain(cls, lab: Lab) -> Iterator[Chain]:
        with Chain(lab) as chain:
            yield chain

    @pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.id)
    def test_a_fault_turns_red_what_it_names(
        self, fault: Fault, chain: Chain, results: list[Result]
    ) -> None:
        """And nothing else; and what it says names the cause."""
        result = chain.run(fault)
        results.append(result)
        assert not result.unasked, result.unasked
        assert not result.problems, "\n".join(map(str, result.problems))
        assert not (fault.safe and result.restored), result.restored  # it runs on users' hosts


def test_every_scenario_that_was_to_be_killed_was(results: list[Result], part: str | None) -> None:
    """The kill matrix: a scenario that no fault turns red says nothing."""
    if part:
        pytest.skip("another lab ran some of the faults; each fault's own test says what it killed")
    ran = {result.fault.id for result in results}
    due = {name for fault in CHOSEN if fault.id in ran for name in fault.kills}
    if ran == {fault.id for fault in CHOSEN}:  # nobody chose some of them
        assert due >= set(scenarios()) - (set() if _WHOLE else SLOW)
    assert due, "no fault was run, so nothing is known"
    assert [name for name in due if not matrix.killed(results)[name]] == []


def test_without_a_fault_the_same_questions_are_compliant(lab: Lab) -> None:
    """The control: what turns red above is green here, asked in the same way."""
    restore(lab, HEALTHY)
    with GateProcess("--target", TARGET, "--allow-mutation") as control:
        found = control.ask(asked())
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


def test_f70_an_unknown_host_key_is_never_accepted(lab: Lab, tmp_path: Path) -> None:
    """Access: nothing is judged, and the way out is printed."""
    where = f"root@127.0.0.1:{lab.address.port}/{CTID}"
    done, said = gate("features/storage_driver.feature", "--target", where, results=tmp_path)
    assert done.returncode == 3, done.stdout
    assert {each["status"] for each in said.values()} == {"broken"}
    assert "is not known" in done.stdout
    assert "SHA256:" in done.stdout
