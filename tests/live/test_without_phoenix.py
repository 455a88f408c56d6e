"""Most users': no phoenix on the node, and a container without Docker."""

from pathlib import Path

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import READY
from remediation.phoenix import REPOSITORY
from tests.live.interrupted.interruption import connected
from tests.live.running import backed_up, gate, succeeded

_HIDE = f'mv {REPOSITORY} {REPOSITORY}.hidden; rm -f "$(command -v phoenix)"'
#: The order matters: what a container comes from and by whom is asked of a target, not guessed.
_TARGET = """
[plain]
host = "lab"
ctid = 960
reserved = [961]
template = "local:vztmpl/debian-trixie-standard_amd64.tar.zst"
bridge = "lxcbr0"
plan = "docker-in-lxc"
"""


def test_from_no_container_to_a_verdict_and_back(machine: Lab, tmp_path: Path) -> None:
    """As docs/getting-started.md says; Docker itself comes and goes with the plan."""
    machine.restore(READY)
    with connected(machine) as node:
        node.run(["sh", "-c", _HIDE]).require()
    (file := tmp_path / "targets.toml").write_text(_TARGET)
    aim = ("--target-file", str(file), "--target", "plain")
    succeeded("create", *aim)
    succeeded("apply", "--yes", *aim)
    backed_up("lab/960")
    succeeded("status", *aim)
    done, said = gate("features/", "--allow-mutation", *aim, results=tmp_path / "results")
    assert done.returncode == 0, done.stdout
    assert {result["status"] for result in said.values()} == {"passed"}
    for left_out in ("the node has no phoenix", "the container exists", "a plan is applied"):
        assert left_out in done.stdout
    succeeded("rollback", "--yes", *aim)
