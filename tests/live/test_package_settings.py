"""What a package takes for its own, settings and data: what was there before comes back."""

from dataclasses import replace

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.transport import Transport
from remediation.actions import package
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.put import put
from tests.live.interrupted.interruption import Points, connected, one_action
from tests.live.running import DOCKER, PLAIN, bare, facts
from tests.live.running import OTHER as CTID

_ACTION = "fuse-overlayfs-package"
#: fuse3's, which comes with it.
_SETTINGS = "/etc/fuse.conf"
#: The settings that dpkg knows of the packages that are named.
_KNOWN = "dpkg-query -W -f '${Conffiles}\\n' \"$@\" | sed -n 's/^ \\([^ ]*\\) .*/\\1/p'"
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


def _plan(ssh: Ssh, action: str = _ACTION) -> Plan:
    return one_action(Points(ssh), CTID, action)


def test_settings_of_the_users_own_are_not_purged(machine: Lab) -> None:
    """Written before the package came, nothing is begun; written since, they are shown first."""
    bare(machine, PLAIN)
    with connected(machine) as ssh:
        runtime = Pct(ssh)
        inside = runtime.inside(CTID)
        put(inside, _SETTINGS, b"user_allow_other\n")
        before = facts(runtime, CTID)
        with pytest.raises(FactError, match=f"there is {_SETTINGS}, and fuse3, which would come"):
            apply(_plan(ssh))
        assert not machine_state.differences(before, facts(runtime, CTID))

        inside.run(["rm", _SETTINGS]).require()
        before = facts(runtime, CTID)
        apply(_plan(ssh))
        settings = inside.read(_SETTINGS)
        assert settings is not None
        put(inside, _SETTINGS, settings + b"user_allow_other\n")
        with pytest.raises(
            ChangedSince, match=f"{_SETTINGS} of a package that is to go was changed"
        ):
            roll_back(_plan(ssh))
        told: list[str] = []
        roll_back(replace(_plan(ssh), tell=told.append), force=True)
        kept = next(line.rpartition(" ")[2] for line in told if "is kept in" in line)
        assert ssh.read(kept) == f"# {_SETTINGS}\n".encode() + settings + b"user_allow_other\n"
        differing = machine_state.differences(before, facts(runtime, CTID))
        assert not differing, "\n".join(differing)


def test_all_settings_that_come_are_known(machine: Lab) -> None:
    """What a release's packages take for their own is what is looked for."""
    bare(machine, PLAIN)
    with connected(machine) as ssh:
        inside = Pct(ssh).inside(CTID)
        for action in (_ACTION, "docker-engine"):
            plan = _plan(ssh, action)
            (step,) = plan.steps
            before = step.action.capture(inside)
            came = getattr(before, "packages", before).adds
            apply(plan)
            known = inside.run(["sh", "-c", _KNOWN, "known", *came]).require().text.split()
            assert known, f"{action}: no settings came, and there is nothing to know"
            assert set(known) <= set(package.SETTINGS)
            assert {package.SETTINGS[each] for each in known} <= set(came)


def test_removed_docker_keeps_its_settings_and_its_data(machine: Lab) -> None:
    """What a purge would destroy: it lay there before the plan, with the script that does it."""
    bare(machine, DOCKER)
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
        assert any(outcome.changed for outcome in apply(_plan(ssh, "docker-engine")))
        shown = inside.run(
            ["docker", "ps", "-aq", "--no-trunc", "--filter", "name=former"]
        ).require()
        assert shown.text.strip(), "Docker does not show what it had"
        roll_back(_plan(ssh, "docker-engine"))
        after = facts(runtime, CTID)
        for path in _LISTS:
            before.pop(f"container: file {path}")
            after.pop(f"container: file {path}")
        differing = machine_state.differences(before, after)
        assert not differing, "\n".join(differing)
        assert _lists(inside) == listed
