"""A plan of one's own, on a container as helper scripts make it: judged, applied, rolled back."""

from pathlib import Path

from docker_lxc_gate.lab.machine import Lab
from proof.faults.fault import HELPER
from tests.live.interrupted.interruption import connected
from tests.live.running import TARGET, gate, remediation, restore, succeeded

_CONF, _LIST = "/etc/pve/lxc/950.conf", "/etc/lxc/own.seccomp"
#: The clauses leave out what no list of system calls can break.
_PLAN = f"""
name = "mine"
version = 1
title = "overlay2 under the generated profile, and a seccomp list of the site's"
drivers = ["overlay2"]
profile = "generated"
features = ["nesting"]
seccomp = "{_LIST}"
clauses = ["STEP-2.2", "STEP-3.3", "VAL-1", "VAL-2", "VAL-4"]
"""
_WRITE = (
    f"cp /usr/share/lxc/config/common.seccomp {_LIST}; "
    f"echo 'socket errno 97 [0,38,SCMP_CMP_EQ]' >>{_LIST}"
)
#: Says whether a socket of family 38 (alg) is refused in the container.
_ALG = ["pct", "exec", "950", "--", "perl", "-e", "exit !socket(S, 38, 5, 0)"]


def test_own_plan_is_judged_applied_and_rolled_back_exactly(machine: Lab, tmp_path: Path) -> None:
    restore(machine, HELPER)
    (file := tmp_path / "mine.toml").write_text(_PLAN)
    aim = ("--target", TARGET, "--plan", str(file))
    with connected(machine) as node:
        before = node.read(_CONF) or b""
    done, said = gate("features/", *aim, results=tmp_path / "before")
    assert done.returncode == 1, done.stdout
    (red,) = (name for name, result in said.items() if result["status"] == "failed")
    assert red == "The container keeps the restrictions that LXC gives by default"
    assert f"not with the plan's, {_LIST}: docker-lxc-gate apply" in said[red]["message"]
    refused = remediation("apply", "--yes", *aim, timeout=600)
    assert (refused.returncode, f"{_LIST}, is absent" in refused.stderr) == (3, True)
    with connected(machine) as node:
        assert node.read(_CONF) == before
        node.run(["sh", "-c", _WRITE]).require()
    shown = remediation("plan", *aim, timeout=600)
    assert f"+lxc.seccomp.profile: {_LIST}" in shown.stdout
    assert "1 to change" in shown.stdout
    succeeded("apply", "--yes", *aim)
    done, said = gate("features/", "--allow-mutation", *aim, results=tmp_path / "after")
    assert done.returncode == 0, done.stdout
    assert {result["status"] for result in said.values()} == {"passed"}
    with connected(machine) as node:
        assert not node.run(_ALG).ok
    succeeded("rollback", "--yes", "--target", TARGET)
    with connected(machine) as node:
        assert node.read(_CONF) == before
        assert node.run(_ALG).ok
