"""The plan on plain LXC: applied, in effect, found applied, and rolled back exactly."""

from collections.abc import Iterator

import msgspec
import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor, machine_state
from docker_lxc_gate.formats.container_defects import stopping
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import READY
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.target import parse
from remediation import desired, docker_in_lxc
from remediation.engine.apply import apply
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from steps.docker import PATIENCE
from steps.rollback import CREATE, CTID
from tests.doubles.put import put
from tests.live.running import facts

IMAGE = "hello-world"


@pytest.fixture
def plain(machine: Lab) -> Iterator[Runtime]:
    """A container with Docker on its default driver, of which pct knows nothing any more.

    pct makes it, with keyrings refused, nesting in a generated profile, and no /dev/fuse.
    """
    machine.restore(READY)
    asked = msgspec.structs.replace(parse(f"lab/{CTID}"), runtime="lxc", reserved=())
    with connect.opened(asked, lab=lab_address) as runtime:
        pct = Pct(runtime.node)
        runtime.node.run(CREATE, timeout=300).require()
        pct.start(CTID)
        wait_until_booted(pct.inside(CTID))
        pct.shutdown(CTID)
        runtime.node.run(["rm", pct.config_path(CTID)]).require()
        assert pct.state(CTID) is None
        runtime.start(CTID)
        wait_until_booted(runtime.inside(CTID))
        run = ["docker", "run", "--name", "former", IMAGE]
        runtime.inside(CTID).run(run, timeout=PATIENCE).require()
        yield runtime


def _plan(runtime: Runtime) -> Plan:
    return docker_in_lxc.plan(runtime, CTID, tell=print)


def test_there_and_back_on_plain_lxc(plain: Runtime) -> None:
    """As on Proxmox: the configuration, the profile by its effect, Docker by its own."""
    assert isinstance(plain, Lxc)
    assert plain.features(CTID) == {"nesting": "1"}
    before = facts(plain, CTID)
    apply(_plan(plain))
    assert plain.features(CTID) == desired.FEATURES
    label = apparmor.label(plain.node, plain.init_pid(CTID))
    assert label == f"{desired.PROFILE} (enforce)"
    inside = plain.inside(CTID)
    driver = inside.run(["docker", "info", "-f", "{{.Driver}}"]).text.strip()
    assert driver == desired.DRIVER
    inside.run(["docker", "run", "--rm", IMAGE], timeout=PATIENCE).require()
    assert not any(outcome.changed for outcome in apply(_plan(plain)))
    roll_back(_plan(plain))
    wait_until_booted(inside)
    assert machine_state.differences(before, facts(plain, CTID)) == []


def test_cut_mount_entry_stops_the_plan_before_the_container(plain: Runtime) -> None:
    """Restarted, it would not come back: that is how the plan's authors lost theirs."""
    path = plain.config_path(CTID)
    text = plain.node.read(path) or b""
    put(plain.node, path, text + b"lxc.mount.entry = /dev/fuse\n")
    pid = plain.init_pid(CTID)
    with pytest.raises(FactError, match=r"'/dev/fuse' lacks target, type, options"):
        apply(_plan(plain))
    assert plain.init_pid(CTID) == pid
    (cut,) = stopping(plain.configuration(CTID))
    assert "'/dev/fuse'" in cut.cause
    assert plain.node.read(desired.TUNABLE_PATH) is None, "something was changed"
