"""Doctor names no trouble of a healthy lab, sees everything, and names one that was made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faults.catalogue import CTID
from faults.states import snapshot
from lab.address import lab_address
from targets import connect
from targets.target import parse

if TYPE_CHECKING:
    from lab.machine import Lab

_ROOT = Path(__file__).parents[2]
TARGET = f"lab/{CTID}"


def said() -> tuple[int, Any]:
    argv = [sys.executable, "-m", "remediation", "doctor", "--target", TARGET, "--format", "json"]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_healthy_lab_has_no_trouble_and_everything_is_seen(lab: Lab) -> None:
    lab.restore(snapshot("compliant"))
    code, told = said()
    assert [each for each in told["troubles"] if each["weight"] != "advice"] == []
    assert told["could_not_see"] == []
    assert code == 0


#: What is broken on the node or in the container, and the one trouble that is named.
BROKEN = {
    "docker-down": (False, "systemctl stop docker.socket docker.service"),
    "ip-forward-off": (False, "sysctl -qw net.ipv4.ip_forward=0"),
    "json-syntax": (False, "echo '{,' >/etc/docker/daemon.json; ! systemctl restart docker"),
    "container-frozen": (True, f"lxc-freeze -n {CTID}"),
    "container-mount-entry-cut": (
        True,
        f"echo 'lxc.mount.entry: /dev/fuse' >>/etc/pve/lxc/{CTID}.conf",
    ),
}


@pytest.mark.parametrize("trouble", BROKEN)
def test_what_was_broken_is_the_only_trouble(lab: Lab, trouble: str) -> None:
    on_node, script = BROKEN[trouble]
    lab.restore(snapshot("compliant"))
    with connect.opened(parse(TARGET), lab=lab_address) as runtime:
        where = runtime.node if on_node else runtime.inside(CTID)
        where.run(["sh", "-c", script], timeout=180).require()
    code, told = said()
    named = [each["id"] for each in told["troubles"] if each["weight"] != "advice"]
    assert (named, code) == ([trouble], 1)
