"""The gate as users start it, and Ctrl-C in the middle of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import READY
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.ssh.connection import Ssh
from remediation.engine.journal import Journal
from tests.live.interrupted.interruption import connected
from tests.live.running import OTHER as CTID
from tests.live.running import ROOT

_PATIENCE = 600.0
#: A gate beside another machine takes a quarter of an hour (seconds).
_LONGEST = 3600.0


def test_gate_on_the_lab_is_compliant(machine: Lab) -> None:
    """Every scenario, the rollback's rehearsals among them, and the report.

    It runs as from a shell, not as one of xdist's workers; its output goes to reports/gate.txt.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    report = ROOT / "reports" / "gate.txt"
    report.parent.mkdir(exist_ok=True)
    with report.open("w") as told:
        done = subprocess.run(
            ["scripts/gate"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
            timeout=_LONGEST,
            check=False,
        )
    assert done.returncode == 0, report.read_text()


def _half_created(node: Ssh) -> bool:
    return node.run(["pgrep", "-f", f"^[^ ]*python3? .*pct create {CTID} "]).ok


def _half_applied(node: Ssh) -> bool:
    return Journal(node, CTID).interrupted() is not None


@pytest.mark.parametrize("come", [_half_created, _half_applied], ids=["created", "applied"])
def test_ctrl_c_leaves_no_throw_away_container(
    machine: Lab, come: Callable[[Ssh], bool], tmp_path: Path
) -> None:
    """Nor anything of its plan. The moments: while it is created, and while the plan is applied."""
    machine.restore(READY)
    argv = ["env", "--default-signal=INT", sys.executable, "-m", "pytest"]  # nohup ignores it
    argv += ["features/rollback.feature", "--no-report", "-k", "tunable"]
    argv += ["--target", "lab/950", "--allow-mutation"]
    argv += ["--alluredir", str(tmp_path / "results"), "--junit-xml", str(tmp_path / "junit.xml")]
    with (
        connected(machine) as node,
        subprocess.Popen(
            argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as gate,
    ):
        deadline = time.monotonic() + _PATIENCE
        while not come(node):
            assert gate.poll() is None, gate.stdout.read() if gate.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.1)
        gate.send_signal(signal.SIGINT)
        said, _ = gate.communicate(timeout=_PATIENCE)
        assert f"throwing away container {CTID}" in said
        assert "KeyboardInterrupt" in said
        assert gate.returncode not in {0, 1}, said
        assert Pct(node).state(CTID) is None, said
        assert not Journal(node, CTID).entries()
        assert node.read("/etc/apparmor.d/tunables/nesting") is None
