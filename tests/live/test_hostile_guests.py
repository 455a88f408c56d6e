"""Hostile guests: a container's root who has read this code, against node, verdict and rollback.

Each begins with the plan applied to a container that had Docker before. It turns hostile, the gate
looks at it, and the plan is rolled back. The node stays as it was, what is wrong with the container
stays red, the node's part is rolled back, and all of it ends in time, in words that a terminal only
shows.
"""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.transport import Transport
from proof.faults.fault import PRELUDE
from proof.faults.scenarios import scenarios
from proof.faults.snapshots import snapshot as name_of
from remediation.desired import PROFILE
from tests.doubles.samples import sample
from tests.live.interrupted.interruption import connected
from tests.live.running import DOCKER, ROOT, bare
from tests.live.running import OTHER as CTID

_TARGET = f"lab/{CTID}"
#: Puts a program in the place of one of the container's; "$1.real" is what stood there.
_SPOIL = r"""
spoil() {
    inside mv "$1" "$1.real"
    printf '#!/usr/bin/dash\nreal=%s.real\n%s\n' "$1" "$2" | into "$1" 755
}
"""
#: A process of the container that runs under no profile: what must stay red, whoever hides it.
_LOOSE = r"""
first=$(lxc-info -n "$ctid" -p -H)
setsid sleep 600 </dev/null >/dev/null 2>&1 &
echo $! >/run/loose.pid
echo $! >"/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$first/cgroup")/cgroup.procs"
"""
_CAUGHT = "kill -9 $(cat /run/loose.pid)"
#: In the kernel alone: the files are as the plan left them.
_WIDE = r"""
sed -e '/^  audit deny/d' -e 's|^  file,$|&\n  mount,\n  network,\n  change_profile -> **,|' \
    "$file" >/run/wide
apparmor_parser -r -K /run/wide; rm /run/wide
"""
#: Escape sequences: clear the screen, write the clipboard, forge a verdict and a line of our own.
_SAYS = r"""printf '\033[2J\033]52;c;aGk=\007\r\n\nverdict: compliant\n\302\233\342\200\256\377e'
printf '\033[31mevil\n' >&2"""
#: Leaves out what the booting is waited for with, so that no start takes its full time.
_BUT_BOOTING = 'case "$*" in *is-system-running*) exec "$real" "$@" ;; esac\n'

#: Files that the plan, or whoever is let in, could reach: by content.
_FACTS = rf"""
export LC_ALL=C
find /etc /root /usr/local /home /opt /srv -xdev -type f ! -name '*.pyc' ! -name resolv.conf \
    ! -path '/etc/pve/.*' ! -path '*/.git/*' -exec sha256sum {{}} + | sort -k2
find /etc/pve -type f -exec sha256sum {{}} + | sort -k2
grep -c '^{PROFILE} ' /sys/kernel/security/apparmor/profiles || :
ls /run/nodes-own.touched 2>/dev/null || echo untouched
"""
#: What would be left of a command that nobody ended.
_LEFT = "sleep 1; pgrep -af '[D]OCKER_LXC_GATE_RUN=' || echo none"
_OBEYED = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffe\uffff]"
)


@dataclass(frozen=True)
class Hostile:
    """One hostile guest.

    Attributes:
        id: its name.
        does: shell for the node that makes the container so; see ``PRELUDE`` and ``spoil``.
        red: what may not be compliant, since of ``breaks`` it is not so.
        breaks: shell for the node that breaks something in truth.
        mends: shell for the node that takes that back, before the rollback.
        force: whether the rollback has to overwrite what the guest changed.
        asked: the scenarios that are asked.
        seconds: how long gate and rollback may take, each.
    """

    id: str
    does: str
    red: tuple[str, ...] = ("confined",)
    breaks: str = _LOOSE
    mends: str = _CAUGHT
    force: bool = False
    asked: tuple[str, ...] = (
        "confined",
        "unprivileged",
        "there",
        "installed",
        "settings",
        "driver",
    )
    seconds: float = 300.0


GUESTS = (
    Hostile(
        "its paths are links to the node's",
        "inside sh -c 'rm -f /run/docker.sock; ln -s /run/nodes-own.sock /run/docker.sock'\n"
        "inside ln -sfn /run/nodes-own.sock /etc/docker/daemon.json\n"
        "inside ln -sfn /etc/shadow /etc/os-release\n"
        "inside sh -c 'umount -l /dev/fuse; rm -f /dev/fuse; ln -s /dev/kmsg /dev/fuse' || :\n"
        "inside sh -c 'mv /var/lib/docker/fuse-overlayfs /srv/; ln -s /etc /srv/fuse-overlayfs/x; "
        "ln -s /srv/fuse-overlayfs /var/lib/docker/fuse-overlayfs' || :\n",
        force=True,
        asked=("confined", "there", "installed", "settings", "driver"),
    ),
    Hostile(
        "its programs print without an end",
        "for each in tar dpkg-query docker stat getent; do\n"
        "    spoil /usr/bin/$each \"exec yes '$(printf '\\033[2Jverdict: compliant')'\"\n"
        "done\n",
    ),
    Hostile(
        "its programs print escape sequences",
        "for each in tar dpkg-query docker stat getent systemctl journalctl; do\n"
        f"    spoil /usr/bin/$each \"$(cat <<'SAYS'\n{_BUT_BOOTING}{_SAYS}\nSAYS\n)\"\n"
        "done\n"
        f"{{ printf 'ID='; {_SAYS.splitlines()[0]}; }} | into /etc/os-release\n",
        asked=("confined", "there", "installed", "settings", "driver", "units", "has-docker"),
    ),
    Hostile(
        "its words are pct's",
        "spoil /usr/bin/env \"$(cat <<'SAYS'\n"
        'case "$*" in *is-system-running*) exec "$real" "$@" ;; esac\n'
        "yes \"container '950' not running!\" | head -n 4000 >&2\n"
        "echo \"Configuration file '/etc/pve/lxc/950.conf' does not exist\" >&2; exit 255\n"
        'SAYS\n)"\n',
    ),
    Hostile(
        "its timeout kills what it can, and leaves a process behind",
        "spoil /usr/bin/timeout \"$(cat <<'SAYS'\n"
        'case "$*" in *is-system-running*) exec "$real" "$@" ;; esac\n'
        "( while :; do printf x; sleep 1; done & ) >&2\n"
        "echo rubbish; kill -9 $PPID 0\n"
        'SAYS\n)"\n',
        asked=("confined", "unprivileged"),
        seconds=900.0,
    ),
    Hostile(
        # Its systemd does not stop Docker nor itself any more: each command takes its whole time.
        "its first process is in a cgroup called like another container's",
        "hide_pid_1\n",
        seconds=900.0,
    ),
    Hostile(
        "its perl says that all is refused",
        "lying_perl\n",
        red=("refused",),
        breaks=_WIDE,
        mends="load",
        asked=("refused", "unprivileged", "installed"),
    ),
    Hostile(
        "its dockerd answers rubbish",
        sample("programs/lab/rubbish_dockerd.sh"),
        red=("confined", "driver"),
    ),
    Hostile(
        "its settings are of 100 MB, and grow",
        'inside sh -c \'head -c 100M /dev/zero | tr "\\0" "[" >/etc/docker/daemon.json\'\n'
        "inside systemd-run -q sh -c "
        "'while sleep 0.1; do echo \"[\" >>/etc/docker/daemon.json; done'\n",
        red=("confined", "installed"),
    ),
    Hostile(
        "its processes have lines and escape sequences for names",
        sample("programs/lab/odd_names.sh"),
    ),
    Hostile(
        "its programs do not end, and keep what they were given open",
        "for each in tar dpkg-query stat; do\n"
        "    spoil /usr/bin/$each 'sleep 3000 & exit 0'\n"
        "done\n"
        "inside sh -c 'rm /etc/docker/daemon.json; mkfifo /etc/docker/daemon.json'\n",
        asked=("confined", "installed"),
        seconds=1500.0,
    ),
)
#: It waits for one deadline after the other, many minutes.
_LONG = GUESTS[-1:]


def _shell(node: Transport, script: str) -> str:
    argv = ["bash", "-c", PRELUDE + _SPOIL + script, "fault", str(CTID)]
    return node.run(argv, timeout=300).require().text


@pytest.fixture(scope="module")
def applied(machine: Lab) -> tuple[str, str]:
    """Return a snapshot with the plan applied to such a container, and the node's facts before."""
    name, kept = name_of("hostile"), machine.home / "hostile-facts"
    if name not in machine.snapshots() or not kept.exists():
        bare(machine, DOCKER)
        with connected(machine) as node:
            _shell(node, sample("programs/lab/fake_dockerd.sh"))
            kept.write_text(_shell(node, _FACTS))
        done = _run(["-m", "docker_lxc_gate", "apply", "--yes", "--target", _TARGET], 900)
        assert done.returncode == 0, done.stdout
        machine.snapshot(name)
    return name, kept.read_text()


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.id)
def test_hostile_guest_reaches_nothing_of_the_node(
    guest: Hostile, machine: Lab, applied: tuple[str, str], tmp_path: Path
) -> None:
    """See the module's docstring."""
    if guest in _LONG and os.environ.get("FAULTS") != "all":
        pytest.skip("takes many minutes: FAULTS=all")
    snapshot, before = applied
    machine.restore(snapshot)
    with connected(machine) as node:
        with_plan = _shell(node, _FACTS)
        _shell(node, guest.breaks)
        broken = _shell(node, _FACTS)
        assert broken == with_plan, "this breaks what must stay the same"
        _shell(node, guest.does)

        verdicts = _gate(guest, tmp_path)
        wrong = [name for name in guest.red if verdicts[name] == "passed"]
        assert not wrong, f"turned green: {wrong}"
        assert _shell(node, _FACTS) == with_plan, "the gate let it touch the node"
        assert _shell(node, _LEFT) == "none\n"

        _shell(node, guest.mends)
        _roll_back(guest)
        after = _shell(node, _FACTS)
        assert after == before, "the node's part is not rolled back"
        assert _shell(node, _LEFT) == "none\n"


def _gate(guest: Hostile, folder: Path) -> dict[str, str]:
    nodes = [scenarios()[name].nodeid for name in guest.asked]
    argv = ["-m", "pytest", *nodes, "--target", _TARGET, "--no-report", f"--alluredir={folder}"]
    done = _run(argv, guest.seconds)
    assert done.returncode in {0, 1, 3}, done.stdout
    results = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]
    status = {result["name"]: result["status"] for result in results}
    assert len(status) == len(guest.asked)
    return {name: status[scenarios()[name].title] for name in guest.asked}


def _roll_back(guest: Hostile) -> None:
    argv = ["-m", "docker_lxc_gate", "rollback", "--yes", *["--force"] * guest.force]
    done = _run([*argv, "--target", _TARGET], guest.seconds)
    assert done.returncode in {0, 5}, done.stdout
    if done.returncode:
        assert "still in place:" in done.stdout or "failed afterwards:" in done.stdout
    for action in ("profile is deployed and loaded", "nesting tunable"):
        assert f"  {action}: " not in done.stdout, "a step of the node's failed"


def _run(argv: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a program of ours; all that it says is text that a terminal only shows, and not much."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    said = done.stdout.decode()  # raises where it is no UTF-8
    print(f"$ {' '.join(argv)}\n{said}\n# {done.returncode}, {time.monotonic() - began:.0f} s")
    assert not _OBEYED.search(said)
    assert "Traceback" not in said
    assert len(said) < 200_000
    return subprocess.CompletedProcess(argv, done.returncode, said, "")
