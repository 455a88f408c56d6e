"""A Docker that was removed and not purged is so again, with what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facts import machine_state
from faults import states
from remediation.engine.apply import apply
from remediation.engine.rollback import roll_back
from steps.rollback import CTID
from targets.runtime.pct import Pct
from targets.runtime.waiting import wait_until_booted
from tests.live.interrupted.interruption import Points, connected, one_action
from tests.live.running import facts

if TYPE_CHECKING:
    from lab.machine import Lab
    from remediation.engine.plan import Plan
    from targets.ssh.connection import Ssh
    from targets.transport import Transport

_ACTION = "docker-engine"
#: dpkg writes here anew what is left of a package that it removes: the same, at another time.
_LISTS = ("/var/lib/dpkg/info/docker.io.list", "/var/lib/dpkg/info/containerd.list")
#: Docker's packages keep their settings and their data, what came with them goes: so the one would
#: be purged with the other.
_REMOVE = """
export DEBIAN_FRONTEND=noninteractive
apt-get -y remove docker.io
apt-get -y autoremove
dpkg-query -W -f '${db:Status-Abbrev}\n' docker.io containerd | grep -c '^rc'
"""


def _lists(inside: Transport) -> str:
    return inside.run(["cat", *_LISTS]).require().text


def _plan(ssh: Ssh) -> Plan:
    return one_action(Points(ssh), CTID, _ACTION)


def test_removed_docker_keeps_its_settings_and_its_data(machine: Lab) -> None:
    """What a purge would destroy: it lay there before the plan, with the script that does it."""
    states.bare(machine, states.DOCKER)
    with connected(machine) as ssh:
        runtime = Pct(ssh)
        inside = runtime.inside(CTID)
        assert inside.run(["sh", "-ec", _REMOVE], timeout=600).require().text.endswith("\n2\n")
        runtime.shutdown(CTID)  # else what it left running is a difference
        runtime.start(CTID)
        wait_until_booted(inside)
        before, listed = facts(runtime, CTID), _lists(inside)
        held = [key for key in before if "/var/lib/docker/overlay2/" in key]
        assert len(held) > 3, "there is nothing to lose"
        assert any(key.endswith("/var/lib/docker/nuke-graph-directory.sh") for key in before)
        assert any(outcome.changed for outcome in apply(_plan(ssh)))
        shown = inside.run(
            ["docker", "ps", "-aq", "--no-trunc", "--filter", "name=former"]
        ).require()
        assert shown.text.strip(), "Docker does not show what it had"
        roll_back(_plan(ssh))
        after = facts(runtime, CTID)
        for path in _LISTS:
            before.pop(f"container: file {path}")
            after.pop(f"container: file {path}")
        differing = machine_state.differences(before, after)
        assert not differing, "\n".join(differing)
        assert _lists(inside) == listed
