"""The whole gate from elsewhere: by LXC's own tools, and on the node itself.

A target's gate begins where its user is: before the plan the rollback is asked about, with the
plan applied how a container comes about, with the container there all else. ``pytest
tests/live/test_places.py`` needs nothing on the node: the checkout is copied there, along with its
libraries in their pinned versions, for the node's own Python.
"""

import io
import json
import shlex
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import READY
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.target import DEFAULT, parse
from proof.faults.fault import APPLIED, CTID
from proof.faults.scenarios import scenarios
from proof.faults.snapshots import WITHOUT_BACKUPS
from tests.doubles.put import put
from tests.live.interrupted.interruption import connected
from tests.live.running import CREATE, OTHER, ROOT, TARGET, backed_up, gate, restore

_TIMEOUT = 1800.0
#: Where nobody looks for changes: /var/tmp.
PLACE = "/var/tmp/gate"  # noqa: S108 - on the lab's node, which is root's alone
_UNPACK = f"rm -rf {PLACE}; mkdir {PLACE}; exec tar --extract --gzip -C {PLACE}"
_RUN = f'cd {PLACE} && PYTHONPATH={PLACE}/site exec python3 -m pytest "$@"'
#: A container of plain LXC: made by pct, which then knows nothing of it any more.
_PLAIN = f"""#!/bin/sh
set -e
{shlex.join(CREATE)}
pct start {OTHER}
until pct exec {OTHER} -- systemctl is-system-running | grep -qE 'running|degraded'; do
    sleep 1
done
pct shutdown {OTHER}
rm /etc/pve/lxc/{OTHER}.conf
"""
_CREATE = f"{PLACE}-create"
#: As pipx would install it, but for its libraries.
_PROGRAM = f"""#!/bin/sh
PYTHONPATH={PLACE}/site:{PLACE} exec python3 -m docker_lxc_gate "$@"
"""
_UNITS, _METRICS = "/etc/systemd/system", "/var/lib/prometheus/node-exporter"
_SERVICE, _TIMER = "docker-lxc-gate.service", "docker-lxc-gate.timer"
_KEPT = "/var/lib/docker-lxc-gate-reports"


@dataclass(frozen=True)
class Place:
    """Where the gate runs, and what manages the containers there."""

    host: str
    runtime: str

    @property
    def table(self) -> str:
        """The target file."""
        reserved = parse(DEFAULT)
        keys = {
            "host": self.host,
            "ctid": CTID,
            "runtime": self.runtime,
            "reserved": [OTHER],
            "template": reserved.template,
            "bridge": "lxcbr0",
        }
        if self.runtime == "lxc":
            keys["create"] = f"{_CREATE} {{ctid}}"
        return "[here]\n" + "".join(f"{key} = {json.dumps(keys[key])}\n" for key in keys)

    def gate(self, lab: Lab, results: Path, *asked: str) -> dict[str, str]:
        """Run the gate there; return each scenario's status by its title."""
        options = ["--target-file", "targets.toml", "--target", "here", "--allow-mutation", *asked]
        with connected(lab) as node:
            put(node, _CREATE, _PLAIN.encode(), 0o755)
            if self.host == "local":
                return self._on_the_node(node, results, options)
        results.mkdir()
        (file := results / "targets.toml").write_text(self.table)
        options[1] = str(file)
        done, said = gate(*options, results=results)
        assert done.returncode == 0, done.stdout
        return {title: result["status"] for title, result in said.items()}

    def _on_the_node(self, node: Ssh, results: Path, options: list[str]) -> dict[str, str]:
        _installed(node, results)
        put(node, f"{PLACE}/targets.toml", self.table.encode())
        argv = [*options, "--no-report", "--alluredir", "results"]
        done = node.run(["sh", "-c", _RUN, "gate", *argv], timeout=_TIMEOUT)
        assert done.exit_code == 0, done.text + done.stderr.decode(errors="replace")
        argv = ["tar", "--create", "-C", f"{PLACE}/results", "."]
        found = node.run(argv, limit=256 << 20).require()
        with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
            files = [archive.extractfile(each) for each in archive if "-result." in each.name]
            read = [json.loads(file.read()) for file in files if file is not None]
        return {result["name"]: result["status"] for result in read}


@pytest.mark.parametrize("place", [Place("lab", "lxc"), Place("local", "pct")], ids=str)
def test_gate_from_elsewhere_passes_each_scenario(lab: Lab, tmp_path: Path, place: Place) -> None:
    """Every scenario there is, in three parts, each from where it begins."""
    lab.restore(READY)
    said = place.gate(lab, tmp_path / "before", "features/rollback.feature")
    restore(lab, APPLIED)
    said |= place.gate(lab, tmp_path / "nothing", "features/provisioning.feature")
    restore(lab, WITHOUT_BACKUPS)
    backed_up(TARGET)
    said |= place.gate(lab, tmp_path / "there", "features/", "-m", "not before_the_plan")
    assert said.keys() == {scenario.title for scenario in scenarios().values()}
    assert set(said.values()) == {"passed"}


def test_timer_on_the_node_shows_a_drift_in_its_metrics(lab: Lab, tmp_path: Path) -> None:
    """The service runs twice. Of two bundles, one is to be kept."""
    restore(lab, WITHOUT_BACKUPS)
    backed_up(TARGET)
    with connected(lab) as node:
        _installed(node, tmp_path)
        node.run(["mkdir", "-p", "/root/.local/bin", f"{_UNITS}/{_SERVICE}.d", _METRICS]).require()
        put(node, "/root/.local/bin/docker-lxc-gate", _PROGRAM.encode(), 0o755)
        for unit in (_SERVICE, _TIMER):
            put(node, f"{_UNITS}/{unit}", (ROOT / "docs/recipes" / unit).read_bytes())
        node.run(["systemctl", "enable", "--now", _TIMER]).require()
        assert _TIMER in node.run(["systemctl", "list-timers"]).text

        def judged() -> str:
            node.run(["systemctl", "start", _SERVICE], timeout=_TIMEOUT).require()
            return node.run(["cat", f"{_METRICS}/docker-lxc-gate.prom"]).require().text

        assert "\ndocker_lxc_gate_exit_code{} 0\n" in judged()
        node.run(["pct", "exec", str(CTID), "rm", "/etc/docker/daemon.json"]).require()
        put(node, f"{_UNITS}/{_SERVICE}.d/kept.conf", b"[Service]\nEnvironment=KEPT=1\n")
        node.run(["systemctl", "daemon-reload"]).require()
        drifted = judged()
        assert "\ndocker_lxc_gate_exit_code{} 1\n" in drifted
        assert not node.run(["systemctl", "is-failed", _SERVICE]).ok
        [bundle] = node.run(["sh", "-c", f"ls {_KEPT}/*.tar.zst"]).require().text.split()
        verified = node.run(["/root/.local/bin/docker-lxc-gate", "verify", bundle])
        assert "verdict: not compliant" in verified.require().text


def _installed(node: Ssh, folder: Path) -> None:
    """Unpack the checkout and its libraries in the node's :data:`PLACE`."""
    libraries = _libraries(node, folder / "site")
    node.run(["sh", "-c", _UNPACK], stdin=_packed(libraries), timeout=300).require()


def _libraries(node: Ssh, to: Path) -> Path:
    """Install our dependencies, as pinned, for the node's Python instead of ours."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = node.run(["python3", "-c", ask]).require().text.strip()
    glibc = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (17, 28, 34)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--target", str(to), "--no-compile", "--only-binary=:all:"]
    pinned = ["--constraint", str(ROOT / "constraints.txt"), *project["dependencies"]]
    argv = [*pip, *how, f"--python-version={version}", *glibc, *pinned]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return to


def _packed(libraries: Path) -> bytes:
    """Return an archive of the checkout as git knows it, and of the libraries in ``site``."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z"]
    known = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as archive:
        for name in filter(None, known.split("\0")):
            archive.add(ROOT / name, name)
        archive.add(libraries, "site")
    return buffer.getvalue()
