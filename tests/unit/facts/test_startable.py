"""Whether a stopped container can start, and what to do: before anybody is told to start it."""

import pytest

from docker_lxc_gate.facts import startable
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import naming
from tests.unit.facts.test_apparmor import PROFILES

CONF = "/etc/pve/lxc/950.conf"
LOADED = "lxc-phoenix-v2 (enforce)\nlxc_phoenix_v2 (enforce)\n"
STARTER = "/usr/bin/lxc-start (enforce)\n"


def runtime(written: str, loaded: str = LOADED + STARTER, mode: int = 755) -> Runtime:
    return Runtime(Machine({CONF: written, PROFILES: loaded}, {"sh control": f"{mode}\n"}))


PLAIN = "/var/lib/lxc/950/config"


@pytest.mark.parametrize(
    ("on", "cause"),
    [
        (runtime("lxc.mount.entry: /dev/fuse\n"), "'/dev/fuse' lacks target, type, options"),
        (
            runtime("arch: amd64\nlxc.aa_profile: x\n"),
            f"lxc.apparmor.profile ({CONF}, line 2)",
        ),
        (runtime("lxc.apparmor.profile: lxc-other\n"), "lxc-other"),
        (runtime("lock: backup\n"), "locked (backup)"),
        (runtime("template: yes\n"), "pct clone"),
        (runtime("arch: amd64\n", mode=555), "pvecm status"),  # a node without quorum
        (
            Lxc(Machine({PLAIN: "lxc.mount.entry = /dev/fuse\n", PROFILES: LOADED})),
            f"({PLAIN}, line 1)",
        ),
        (runtime("features: nesting=1,fuse=yes\ntemplate: 0\n"), ""),
        (runtime("lxc.apparmor.profile: lxc-phoenix-v2\n"), ""),
        (runtime("lxc.apparmor.profile: generated\n"), ""),
        (runtime("lxc.apparmor.profile: lxc_phoenix_v2\n", LOADED), ""),  # lxc-start is unconfined
    ],
)
def test_start_obstacle_in_the_file_or_the_kernel_is_named(on: Pct | Lxc, cause: str) -> None:
    found = startable.start_obstacle(on, 950)
    assert cause in found
    assert bool(cause) == bool(found)


SAID = "sync_wait: 34 An error occurred in another process\n"


@pytest.mark.parametrize(
    ("written", "named"), [("lxc.apparmor.profile: lxc-other\n", "lxc-other"), ("arch: x\n", "")]
)
def test_start_that_fails_names_the_cause_that_pct_does_not(written: str, named: str) -> None:
    pct = runtime(written)
    assert isinstance(pct.node, Machine)
    pct.node.answers["pct start 950"] = (255, "", SAID)
    with naming(CommandFailed, SAID.strip(), named) as raised:
        startable.start(pct, 950)
    assert bool(str(raised.value).partition(SAID.strip())[2]) is bool(named)


def test_how_of_a_container_that_cannot_start_mends_it_first() -> None:
    pct, plain = runtime(""), Lxc(Machine())
    assert "pct start 950" in startable.start_advice(pct, 950, "")
    assert "mend" not in startable.start_advice(pct, 950, "")
    assert startable.start_advice(pct, 950, "x").startswith("correct")
    assert "lxc-start -n 950" in startable.start_advice(plain, 950, "")
