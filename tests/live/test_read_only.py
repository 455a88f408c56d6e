"""What says that it changes nothing, changes nothing: seen by the witness, and below /var."""

import re
from pathlib import Path

from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.transport import Transport
from proof.faults.fault import CTID
from proof.faults.scenarios import scenarios
from tests.live.running import TARGET, compliant, gate, remediation

#: Written by the machine for as long as it is on, whoever looks at it.
MAY_BE_WRITTEN = re.compile(
    r"/var/log/(audit/audit\.log|journal)(/.*)?"  # records: each login, and the canary's denial
    r"|/var/log/(wtmp|btmp|lastlog)"  # our logins
    r"|/var/lib/systemd/(timesync/clock|timers/stamp-.*|random-seed)"  # clock, timers
    r"|/var/lib/misc/dnsmasq\.lxcbr0\.leases"  # the container renews its address
    r"|/var/lib/systemd/(timesync|timers)|/var/lib/misc|/var/log/audit"  # and their directories
    r"|/tmp"  # systemd-analyze makes a directory there, and removes it
)
#: Whose status, content or name changed since a moment (find(1): ctime, which nobody can set).
#: A container's own files are looked at from the inside.
_CHANGED = r"""
export LC_ALL=C
exec find /var /tmp -xdev \( -path '/var/lib/vz/images/*' -o -path /var/lib/lxcfs \) -prune \
    -o -newerct "@$1" -printf '%p\n'
"""
COMMANDS = {
    "plan": ["plan"],
    "plan as JSON": ["plan", "--json"],
    "status": ["status"],
    "journal": ["journal", "show"],
    "export": ["journal", "export"],
    "denials": ["denials"],
    "doctor": ["doctor"],
    "doctor before an upgrade": ["doctor", "--upgrade"],
}
#: Those that cannot judge where apt has no current lists.
MAY_NOT_SEE = {"doctor before an upgrade"}


def changed_since(on: Transport, moment: str) -> list[str]:
    """Return what was written below /var and /tmp, but for the above."""
    found = on.run(["sh", "-c", _CHANGED, "changed", moment], timeout=120).require().text
    return [path for path in found.splitlines() if not MAY_BE_WRITTEN.fullmatch(path)]


class Looked:
    """A node and a container as they were, to be compared with what they are."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._machines = (runtime.node, runtime.inside(CTID))
        self._before = self._facts()
        self._moment = runtime.node.run(["date", "+%s.%N"]).require().text.strip()

    def _facts(self) -> dict[str, str]:
        return machine_state.comparable_after_no_change(
            machine_state.record_target(self._runtime, CTID)
        )

    def compare(self) -> None:
        """Nothing differs; and what is written now is seen, so that it would have been."""
        for on in self._machines:
            assert changed_since(on, self._moment) == [], f"written on {on.machine}"
        assert machine_state.differences(self._before, self._facts()) == []
        for on in self._machines:
            on.run(["touch", "/var/lib/written"]).require()
            assert "/var/lib/written" in changed_since(on, self._moment)


def _gate_says_what_it_leaves_out(results: Path) -> None:
    done, said = gate("features/", "--target", TARGET, results=results)
    assert "runs Docker or changes the target, which needs" in done.stdout, done.stdout
    wrong = {name for name, result in said.items() if result["status"] != "passed"}
    backups = {scenarios()[name].title for name in ("container-backup", "node-backup")}
    assert set(said) > wrong > set(), said  # the lab has no backups, and nobody makes them
    assert wrong <= backups


def _commands_look() -> None:
    for name, words in COMMANDS.items():
        done = remediation(*words, "--target", TARGET)
        blind = name in MAY_NOT_SEE and "could not see what apt would install" in done.stdout
        wanted = {0, 1, 3} if blind else {0, 1}
        assert done.returncode in wanted, f"{name}: {done.stdout}{done.stderr}"


def test_gate_and_commands_that_look_change_nothing(lab: Lab, tmp_path: Path) -> None:
    """The gate without leave to change says what it leaves out, and judges the rest."""
    with compliant(lab) as runtime:
        looked = Looked(runtime)
        _gate_says_what_it_leaves_out(tmp_path)
        _commands_look()
        looked.compare()
