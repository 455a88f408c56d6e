"""The files of a healthy lab have no finding: those of its node, of its container, and Docker's."""

import io
import json
import tarfile
from pathlib import Path

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.transport import Transport
from proof.faults.fault import CTID
from tests.live.running import compliant, remediation

#: What is so on purpose: the plan writes a tunable that nothing reads (STEP-1.2).
KNOWN = {("tunable-without-effect", "apparmor.d/tunables/nesting")}


def copied(on: Transport, to: Path, *places: str) -> None:
    packed = on.run(["tar", "-C", "/etc", "-c", *places], limit=64 << 20).require().stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files = [each for each in tar if each.isfile() or each.isdir()]
        tar.extractall(to, files, filter="data")


def test_files_of_a_healthy_lab_have_no_finding(lab: Lab, tmp_path: Path) -> None:
    with compliant(lab) as runtime:
        copied(runtime.node, tmp_path, "apparmor.d", "pve/lxc")
        copied(runtime.inside(CTID), tmp_path, "docker")
    own = [tmp_path / "docker/daemon.json", tmp_path / f"pve/lxc/{CTID}.conf"]
    assert all(each.is_file() for each in own), "the container's own files were not copied"
    done = remediation("lint", str(tmp_path), "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["files"] > 10
    found = {(each["id"], each["file"].removeprefix(f"{tmp_path}/")) for each in told["findings"]}
    # This machine may have no apparmor_parser, or another one.
    not_checked = {each for each in found if each[0] == "not-checked"}
    assert found - not_checked == KNOWN
